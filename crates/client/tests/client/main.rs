//! What the client does over an API, with the API's answers made up.

mod execute;
mod fake;
mod informers;
mod own_writes;
mod recorder;
