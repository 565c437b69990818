//! `create`: from manifests, or small objects from flags.

mod access;
mod generate;

use serde_json::Value;

use crate::apply;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report};
use crate::resource::Resource;
use crate::session::{Failures, Session};

/// Flags of `create`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Create {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    generator: Option<Generator>,
}

/// Flags that go with files and generators alike.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    report: Report,
    /// Keep the object as the last applied one, for apply to work with later
    #[arg(long)]
    save_config: bool,
}

/// Objects that flags can describe.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Generator {
    /// Create a namespace
    #[command(alias = "ns")]
    Namespace(Plain),
    /// Create a service account
    #[command(alias = "sa")]
    Serviceaccount(Plain),
    /// Create a config map from files, folders and values
    #[command(alias = "cm")]
    Configmap(Keyed),
    /// Create a secret
    Secret(Secret),
    /// Create a role with one rule
    Role(access::Role),
    /// Create a cluster role
    Clusterrole(access::ClusterRole),
    /// Bind a role or a cluster role in a namespace
    Rolebinding(access::RoleBinding),
    /// Bind a cluster role
    Clusterrolebinding(access::Binding),
    /// Ask for a token of a service account
    Token(access::Token),
}

/// An object that is only a name.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plain {
    name: String,
    #[command(flatten)]
    options: Options,
}

/// An object that holds values by key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Keyed {
    name: String,
    #[command(flatten)]
    data: generate::Data,
    #[command(flatten)]
    options: Options,
}

/// The kinds of secrets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    form: SecretForm,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum SecretForm {
    /// Create a secret from files, folders and values
    Generic(GenericSecret),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GenericSecret {
    #[command(flatten)]
    keyed: Keyed,
    /// The secret's type; Opaque when not given
    #[arg(long = "type", value_name = "TYPE")]
    secret_type: Option<String>,
}

impl Create {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        match &self.generator {
            None => self.create_files(session).await,
            Some(Generator::Namespace(plain)) => {
                plain.options.create(session, generate::plain("Namespace", &plain.name)).await
            }
            Some(Generator::Serviceaccount(plain)) => {
                plain.options.create(session, generate::plain("ServiceAccount", &plain.name)).await
            }
            Some(Generator::Configmap(keyed)) => {
                keyed.options.create(session, generate::config_map(&keyed.name, &keyed.data)?).await
            }
            Some(Generator::Secret(Secret { form: SecretForm::Generic(secret) })) => {
                let GenericSecret { keyed, secret_type } = secret;
                let object = generate::secret(&keyed.name, &keyed.data, secret_type.as_deref())?;
                keyed.options.create(session, object).await
            }
            Some(Generator::Role(role)) => role.create(session).await,
            Some(Generator::Clusterrole(role)) => role.create(session).await,
            Some(Generator::Rolebinding(binding)) => binding.create(session).await,
            Some(Generator::Clusterrolebinding(binding)) => binding.create(session).await,
            Some(Generator::Token(token)) => token.create(session).await,
        }
    }

    async fn create_files(&self, session: &Session) -> Result<(), Error> {
        if !self.files.is_given() {
            return Err(Error::plain("must specify -f FILE, or what to create: see create --help"));
        }
        let objects = self.files.load(session).await?;
        if objects.is_empty() {
            return Err(Error::plain("no objects passed to create"));
        }
        let mut failures = Failures::default();
        for placed in objects {
            let Some(placed) = failures.note(session, placed)? else { continue };
            let made = self.options.one(session, &placed.resource, &placed.namespace, &placed.object).await;
            failures.note(session, made.map_err(|e| e.when("creating", &placed.source)))?;
        }
        failures.end()
    }
}

impl Options {
    async fn create(&self, session: &Session, object: Value) -> Result<(), Error> {
        let resource = session.resource_of(&object).await?;
        let mut object = object;
        if resource.namespaced && (session.namespace_is_explicit || self.report.dry_run != DryRun::Client) {
            object["metadata"]["namespace"] = session.namespace.clone().into();
        }
        self.one(session, &resource, &session.namespace, &object).await
    }

    async fn one(
        &self,
        session: &Session,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<(), Error> {
        let object = if self.save_config { apply::with_last_applied(object) } else { object.clone() };
        let dry_run = self.report.dry_run;
        let url = resource.collection(Some(namespace)).with("dryRun", dry_run.parameter());
        let created = match dry_run {
            DryRun::Client => object,
            _ => session.api.create(&url, &object).await?,
        };
        self.report.done(session, resource, &created, "created")
    }
}
