//! The API as a service: one request in, one answer out, no sockets.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use apimachinery::inject::{Clock, Random};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use registry::nodes::Graph;
use registry::rbac::Policy;
use registry::rbac::reconcile::reconcile;
use registry::{Subresource, Version, reviews};
use serde_json::Value;
use store::Store;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::attributes::Lately;
use crate::authn::{self, TokenKey};
use crate::authz::{self, Cache, RequestInfo};
use crate::body::RequestBody;
use crate::codec;
use crate::fairness::{FairQueue, Seat};
use crate::figures::{Counted, FigureSource, Figures};
use crate::finish::Wishes;
use crate::handlers;
use crate::life::Part;
use crate::negotiate::{self, Shown};
use crate::node_streams::NodeStreams;
use crate::origin::{Connection, Origin};
use crate::ownership::Author;
use crate::places::Places;
use crate::query::Query;
use crate::respond::{self, Answer};
use crate::route::{self, Route, Target};
use crate::storage::Update;
use crate::user::UserInfo;
use crate::{discovery, openapi};

/// The largest body of a request (upstream: `MaxRequestBodyBytes`).
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Watches at once, of all clients. Each is a place in the history, and what its connection holds.
const MAX_WATCHES: usize = 20_000;
/// Watches of one user at once.
const MAX_WATCHES_OF_USER: usize = 10_000;

/// What an [`ApiServer`] works with.
pub struct Config {
    /// Where objects live.
    pub store: Arc<dyn Store>,
    /// The range of cluster IPs, for instance `10.43.0.0/16`.
    pub service_cidr: String,
    /// Where logs and exec come from.
    pub streams: Arc<dyn NodeStreams>,
    /// What signs service-account tokens.
    pub tokens: Arc<TokenKey>,
    /// The time of day.
    pub clock: Clock,
    /// Chance: uids, generated names, how long a watch may last.
    pub random: Random,
}

/// The Kubernetes API over a store. Cheap to clone: all clones are one server.
///
/// ```no_run
/// # use std::sync::Arc;
/// # fn client(config: apiserver::Config) -> kube::Client {
/// let api = apiserver::ApiServer::new(config);
/// let user = apiserver::UserInfo::component("system:kube-scheduler");
/// kube::Client::new(api.service(user), "default")
/// # }
/// ```
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    admission: Mutex<()>,
    lately: Arc<Lately>,
    policy: Cache<Policy>,
    graph: Cache<Graph>,
    shutdown: CancellationToken,
    queue: FairQueue,
    watches: Places,
    connections: AtomicU64,
    figures: Figures,
}

/// A request whose body has arrived.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// A body that is passed on and was not collected, whatever its size. The lock is for nobody: it makes the
    /// request `Sync`, which a body alone is not.
    pub(crate) stream: Option<std::sync::Mutex<RequestBody>>,
    /// As it was asked for.
    pub(crate) uri: Uri,
    /// The connection, when it can be taken over for a WebSocket.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// The time of day.
    pub(crate) clock: Clock,
    /// Who asks.
    pub(crate) user: Arc<UserInfo>,
    /// From where.
    pub(crate) origin: Origin,
    /// The second version of the kind that is asked for, when it is one.
    pub(crate) version: Option<&'static Version>,
}

impl ApiServer {
    /// An API over what the config names. Nothing is read or written yet; see [`ApiServer::bootstrap`].
    pub fn new(config: Config) -> Self {
        let inner = Inner {
            config,
            admission: Mutex::new(()),
            lately: Arc::default(),
            policy: Cache::default(),
            graph: Cache::default(),
            shutdown: CancellationToken::new(),
            queue: FairQueue::new(),
            watches: Places::new(MAX_WATCHES, MAX_WATCHES_OF_USER),
            connections: AtomicU64::new(0),
            figures: Figures::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The API as `user` sees it, for use in this process.
    pub fn service(&self, user: UserInfo) -> ApiService {
        ApiService { api: self.clone(), user: Arc::new(user), origin: Origin::Process }
    }

    /// A new connection, and the API as `user` sees it through that.
    pub(crate) fn connection(&self, user: UserInfo) -> (Arc<Connection>, ApiService) {
        let connection = Arc::new(Connection::new(self.inner.connections.fetch_add(1, Ordering::Relaxed)));
        let origin = Origin::Connection(Arc::clone(&connection));
        (connection, ApiService { api: self.clone(), user: Arc::new(user), origin })
    }

    /// Makes the objects that every cluster has (namespaces, the default StorageClass, the Service of the API,
    /// the default roles), unless they exist, and brings the roles up to date.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bootstrap(&self) -> Result<(), Status> {
        let (namespaces, others): (Vec<_>, Vec<_>) = registry::bootstrap_objects(self.service_cidr())
            .into_iter()
            .partition(|object| object["kind"] == "Namespace");
        for object in namespaces {
            self.ensure_own(object).await?;
        }
        // Together, so that they share a trip to the disk.
        try_join_all(others.into_iter().map(|object| self.ensure_own(object))).await.map(drop)
    }

    /// Makes one of the first objects, or adds what it lacks.
    async fn ensure_own(&self, object: Value) -> Result<(), Status> {
        let target = own_target(&object)?;
        let existing = match self.read(&target).await {
            Ok(stored) => codec::decode(&stored)?,
            Err(_) => return self.make_own(&target, object).await.map(drop),
        };
        if reconcile(&object, &existing).is_none() {
            return Ok(());
        }
        self.change_own(&target, |old| reconcile(&object, old).unwrap_or_else(|| old.clone())).await
    }

    /// Publishes the certificates (PEM) that clients in pods trust, in `kube-system`. From there the namespace
    /// controller copies them into every namespace. After [`ApiServer::bootstrap`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn publish_root_ca(&self, pem: &str) -> Result<(), Status> {
        let object = registry::bootstrap::root_ca(pem);
        let target = own_target(&object)?;
        if self.make_own(&target, object.clone()).await? {
            return Ok(());
        }
        self.change_own(&target, |old| {
            let mut new = old.clone();
            new["data"] = object["data"].clone();
            new
        })
        .await
    }

    /// Says in the Service `kubernetes` at which port this server listens. After [`ApiServer::bootstrap`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn publish_port(&self, port: u16) -> Result<(), Status> {
        let all = registry::bootstrap_objects(self.service_cidr());
        let service = all.iter().find(|object| object["kind"] == "Service");
        let target = own_target(service.unwrap_or(&Value::Null))?;
        let change = |old: &Value| {
            let mut new = old.clone();
            registry::bootstrap::set_api_port(&mut new, port);
            new
        };
        self.change_own(&target, change).await
    }

    /// Leads the Service `kubernetes` to where pods reach this server. After [`ApiServer::bootstrap`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn publish_endpoints(&self, address: Ipv4Addr, port: u16) -> Result<(), Status> {
        for object in registry::bootstrap::api_endpoints(address, port) {
            let target = own_target(&object)?;
            if self.make_own(&target, object.clone()).await? {
                continue;
            }
            let change = |old: &Value| {
                let mut new = object.clone();
                new["metadata"] = old["metadata"].clone();
                new
            };
            self.change_own(&target, change).await?;
        }
        Ok(())
    }

    /// Changes an object that the server itself needs.
    async fn change_own(
        &self,
        target: &Target,
        change: impl Fn(&Value) -> Value + Send + Sync,
    ) -> Result<(), Status> {
        let (author, warnings) = (&Author::Server, &mut Vec::new());
        let update = Update { target, part: Part::Main, dry_run: false, author, warnings };
        self.update(update, |old, _: &mut Vec<String>| Ok(change(old))).await.map(drop)
    }

    /// Makes an object that the server itself needs; `false` when it is there already.
    async fn make_own(&self, target: &Target, object: Value) -> Result<bool, Status> {
        match self.make(target, object, false, &Author::Server, &mut Vec::new()).await {
            Err(status) if status.reason == "AlreadyExists" => Ok(false),
            made => made.map(|_| true),
        }
    }

    /// Who else counts: what they say stands in `/metrics`, and behind metrics.k8s.io. The first to say so stays.
    pub fn show_figures(&self, others: Arc<dyn FigureSource>) {
        self.inner.figures.show(others);
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.inner.figures
    }

    /// Ends all watches and log streams, so that connections can close.
    pub fn end_streams(&self) {
        self.inner.shutdown.cancel();
    }

    pub(crate) fn shutdown_token(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.config.store
    }

    pub(crate) fn streams(&self) -> &dyn NodeStreams {
        &*self.inner.config.streams
    }

    pub(crate) fn service_cidr(&self) -> &str {
        &self.inner.config.service_cidr
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.config.clock
    }

    pub(crate) fn random(&self) -> &Random {
        &self.inner.config.random
    }

    pub(crate) fn watches(&self) -> &Places {
        &self.inner.watches
    }

    /// Waits until it is the client's turn.
    async fn seat(&self, user: &str, origin: &Origin) -> Result<Option<Seat>, Status> {
        let Origin::Connection(connection) = origin else { return Ok(None) };
        let seat = self.inner.queue.seat(user, connection.number).await?;
        // Most of what handlers do is done without a pause. Here others get in between.
        tokio::task::yield_now().await;
        Ok(Some(seat))
    }

    /// What watches have looked at last.
    pub(crate) fn lately(&self) -> &Arc<Lately> {
        &self.inner.lately
    }

    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.inner.config.tokens
    }

    /// The rules as of now.
    pub(crate) async fn policy(&self) -> Result<Arc<Policy>, Status> {
        self.inner.policy.current(self.store()).await
    }

    /// What which node needs, as of now.
    pub(crate) async fn graph(&self) -> Result<Arc<Graph>, Status> {
        self.inner.graph.current(self.store()).await
    }

    pub(crate) fn admission_lock(&self) -> &Mutex<()> {
        &self.inner.admission
    }

    async fn answer(&self, route: Route, request: Request) -> Answer {
        let path = request.path.clone();
        match AssertUnwindSafe(self.dispatch(route, request)).catch_unwind().await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => respond::refusal(&status),
            Err(_) => {
                tracing::error!(path, "a handler panicked");
                respond::refusal(&Status::internal("a handler of stead failed; its log says why"))
            }
        }
    }

    async fn dispatch(&self, route: Route, request: Request) -> Result<Answer, Status> {
        if let Route::Resource(target) = route {
            return self.resource(request, target).await;
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Status::method_not_allowed());
        }
        match route {
            Route::Metrics => Ok(self.inner.figures.answer().await),
            Route::Health => Ok(respond::typed(StatusCode::OK, "text/plain; charset=utf-8", "ok")),
            Route::OpenIdConfiguration => Ok(authn::configuration()),
            Route::KeySet => Ok(authn::key_set(self.token_key())),
            Route::OpenApiV2 => Ok(openapi::document_v2(&request)),
            Route::OpenApiIndex => Ok(openapi::index(&request)),
            Route::OpenApi(group_version) => openapi::document(&request, &group_version),
            other => discovery::answer(&other, &request),
        }
    }

    async fn resource(&self, mut request: Request, target: Target) -> Result<Answer, Status> {
        request.version = route::version_at(&request.path, target.kind);
        // Who would not understand the answer changes nothing.
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let shown = if target.name.is_empty() && request.method == Method::DELETE {
                Shown::List
            } else {
                Shown::One
            };
            negotiate::form(&request.headers, request.query.get("includeObject"), shown)?;
        }
        match target.subresource {
            None if target.name.is_empty() => self.collection(request, target).await,
            None => self.object(request, target).await,
            Some(part) => self.subresource(request, target, part).await,
        }
    }

    async fn collection(&self, request: Request, target: Target) -> Result<Answer, Status> {
        if registry::measured(target.kind).is_some() {
            return handlers::measured::measured(self, &request, &target).await;
        }
        if let Some(question) = reviews::question(target.kind) {
            return handlers::review::review(self, &request, &target, question).await;
        }
        match request.method {
            Method::GET if request.query.flag("watch") => {
                handlers::watch::watch(self, request, &target).await
            }
            Method::GET => handlers::list::list(self, &request, &target).await,
            Method::POST => handlers::create::create(self, &request, &target).await,
            Method::DELETE if discovery::verbs(target.kind).contains(&"deletecollection") => {
                handlers::delete_collection::delete_collection(self, &request, &target).await
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn object(&self, request: Request, target: Target) -> Result<Answer, Status> {
        if registry::measured(target.kind).is_some() {
            return handlers::measured::measured(self, &request, &target).await;
        }
        if reviews::question(target.kind).is_some() {
            return Err(Status::method_not_allowed());
        }
        match request.method {
            Method::GET => handlers::get::get(self, &request, &target).await,
            Method::PUT => handlers::update::update(self, &request, &target).await,
            Method::PATCH => handlers::patch::patch(self, &request, &target).await,
            Method::DELETE => handlers::delete::delete(self, &request, &target).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn subresource(
        &self,
        request: Request,
        target: Target,
        part: Subresource,
    ) -> Result<Answer, Status> {
        match (part, &request.method) {
            (Subresource::Status, _) => handlers::status::status(self, &request, &target).await,
            (Subresource::EphemeralContainers, _) => {
                handlers::status::part(self, &request, &target, Part::EphemeralContainers).await
            }
            (Subresource::Resize, _) => handlers::status::part(self, &request, &target, Part::Resize).await,
            (Subresource::Scale, _) => handlers::scale::scale(self, &request, &target).await,
            (Subresource::Finalize, &Method::PUT) => {
                handlers::finalize::finalize(self, &request, &target).await
            }
            (Subresource::Binding, &Method::POST) => {
                handlers::binding::binding(self, &request, &target).await
            }
            (Subresource::Eviction, &Method::POST) => {
                handlers::eviction::eviction(self, &request, &target).await
            }
            (Subresource::Token, &Method::POST) => handlers::token::token(self, &request, &target).await,
            (Subresource::Log, &Method::GET) => handlers::log::log(self, &request, &target).await,
            (Subresource::Exec, &Method::GET | &Method::POST) => {
                handlers::exec::exec(self, request, &target).await
            }
            (Subresource::Attach, &Method::GET | &Method::POST) => {
                handlers::exec::attach(self, request, &target).await
            }
            (Subresource::Proxy, _) => handlers::proxy::proxy(self, request, &target).await,
            (Subresource::PortForward, &Method::GET | &Method::POST) => {
                handlers::port_forward::port_forward(self, request, &target).await
            }
            _ => Err(Status::method_not_allowed()),
        }
    }
}

/// [`ApiServer`] as a tower service, for one user.
#[derive(Clone)]
pub struct ApiService {
    api: ApiServer,
    user: Arc<UserInfo>,
    origin: Origin,
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self { api, user, origin } = self.clone();
        let (mut parts, body) = request.into_parts();
        let wishes = Wishes::of(&parts.uri, &parts.headers);
        let counting = api.clone();
        let counted = Arc::new(OnceLock::new());
        let (begun, method) = (Instant::now(), parts.method.clone());
        let told = Arc::clone(&counted);
        let answer = async move {
            // Who may not ask is refused before the body is read.
            let (user, route) = match admit(&api, &user, &parts).await {
                Ok(admitted) => admitted,
                Err(status) => return respond::refusal(&status),
            };
            let _ = told.set(Counted::of(&route, &parts.method, parts.uri.query()));
            let turn = match route {
                // Whoever looks after stead must learn that it lives, most of all when there is much to do.
                Route::Health => Ok(None),
                // How long it takes is up to somebody else (upstream: `longRunningRequestCheck`).
                _ if is_passed_on(&route) => Ok(None),
                _ => api.seat(&user.name, &origin).await,
            };
            let _seat = match turn {
                Ok(seat) => seat,
                Err(status) => return respond::refusal(&status),
            };
            let (body, stream) = if is_passed_on(&route) {
                (Bytes::new(), Some(std::sync::Mutex::new(body.map_err(Into::into).boxed_unsync())))
            } else {
                match collect(body).await {
                    Ok(body) => (body, None),
                    Err(status) => return respond::refusal(&status),
                }
            };
            let request = Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: Query::parse(parts.uri.query().unwrap_or_default()),
                headers: parts.headers,
                body,
                stream,
                uri: parts.uri,
                upgrade: parts.extensions.remove::<OnUpgrade>(),
                clock: api.clock().clone(),
                user,
                origin,
                version: None,
            };
            api.answer(route, request).await
        };
        Box::pin(async move {
            let answer = answer.await;
            let counted = counted.get_or_init(|| Counted::refused(&method));
            counting.figures().note(counted, answer.status(), begun.elapsed());
            Ok(wishes.fulfil(answer).await)
        })
    }
}

/// Where an object that the registry has written down belongs.
fn own_target(object: &Value) -> Result<Target, Status> {
    let said = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = registry::by_gvk(said("apiVersion"), said("kind"))
        .ok_or_else(|| Status::internal(format!("no kind for the object {object}")))?;
    let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
    Ok(Target { kind, namespace, name, subresource: None })
}

/// Who asks, and for what, if they may.
async fn admit(
    api: &ApiServer,
    connection: &Arc<UserInfo>,
    parts: &http::request::Parts,
) -> Result<(Arc<UserInfo>, Route), Status> {
    let user = authn::authenticate(api, connection, &parts.headers).await?;
    let path = parts.uri.path();
    if !user.is_master() {
        let info = RequestInfo::new(&parts.method, path, parts.uri.query().unwrap_or_default());
        authz::authorize(api, &user, &info.attributes()).await?;
    }
    // Strangers do not learn which paths exist.
    Ok((user, route::parse(path)?))
}

/// Whether the request is somebody else's to read.
fn is_passed_on(route: &Route) -> bool {
    matches!(route, Route::Resource(Target { subresource: Some(Subresource::Proxy), .. }))
}

async fn collect<B>(body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Err(_) => Err(Status::new(408, "Timeout", "the body of the request did not arrive in time")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY_BYTES)),
        Ok(Err(error)) => Err(Status::bad_request(format!("the body of the request broke off: {error}"))),
    }
}
