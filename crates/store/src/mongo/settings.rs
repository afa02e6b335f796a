//! Where the database is and how to log on, from the settings. Nothing of the credentials leaves
//! this file but inside the driver's options, which show none.

use std::{fmt, time::Duration};

use mongodb::options::{
    Acknowledgment, ClientOptions, Credential, ReadConcern, ServerAddress, WriteConcern,
};

/// The database where the settings name none.
const DATABASE: &str = "cluster_db";

/// The server where the settings name none.
const HOST: &str = "localhost:27017";

/// As `MONGODB_URI`, or `MONGODB_HOST`, `MONGODB_USERNAME` and `MONGODB_PASSWORD`, with
/// `MONGODB_DATABASE` beside either.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MongoSettings {
    /// `mongodb://user:password@host:27017/cluster_db?replicaSet=rs0&tls=true`.
    pub uri: Option<String>,
    /// `localhost:27017`, or several with commas: members of one replica set.
    pub host: Option<String>,
    /// Whom to log on as; nobody if absent.
    pub username: Option<String>,
    /// With what.
    pub password: Option<String>,
    /// Which database.
    pub database: Option<String>,
}

impl fmt::Debug for MongoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("MongoSettings")
            .field("uri", &shown(&self.uri))
            .field("host", &self.host.as_deref().map(shown_host))
            .field("username", &shown(&self.username))
            .field("password", &shown(&self.password))
            .field("database", &self.database)
            .finish()
    }
}

/// Without what stands before an `@`: somebody may have put the whole string there.
fn shown_host(host: &str) -> String {
    match host.rsplit_once('@') {
        Some((_, address)) => format!("***@{address}"),
        None => host.to_owned(),
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum MongoSettingsError {
    /// Both ways at once.
    #[error(
        "MONGODB_URI and {other} are both set: expected the one or the other, such as \
         MONGODB_URI=mongodb://user:password@localhost:27017/cluster_db"
    )]
    Both {
        /// Which of the others.
        other: &'static str,
    },
    /// One half of the credentials.
    #[error("{missing} is missing: expected MONGODB_USERNAME and MONGODB_PASSWORD, or neither")]
    Half {
        /// Which.
        missing: &'static str,
    },
    /// Not an address.
    #[error("MONGODB_HOST {host:?} can't be read: expected host:port, such as localhost:27017")]
    Host {
        /// What stands there.
        host: String,
    },
    /// Not a connection string. What exactly is wrong is not said: the words could hold a secret.
    #[error(
        "MONGODB_URI can't be read: expected mongodb://user:password@host:27017/cluster_db, with \
         what isn't a letter or digit in user and password percent-encoded (%40 for @)"
    )]
    Uri,
    /// The name of the service could not be looked up.
    #[error("MONGODB_URI names a mongodb+srv service that can't be looked up: {problem}")]
    Service {
        /// What the resolver said.
        problem: String,
    },
    /// Not a database's name.
    #[error(
        "MONGODB_DATABASE {name:?} is no name of a database: expected 1 to 63 letters, digits, \
         '_' or '-', such as cluster_db"
    )]
    Database {
        /// What stands there.
        name: String,
    },
}

/// What the driver needs.
pub(super) struct Target {
    pub(super) options: ClientOptions,
    pub(super) database: String,
    /// For people: `mongodb localhost:27017/cluster_db`.
    pub(super) place: String,
    /// With what the settings say of them.
    pub(super) limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until a server is found that takes writes.
    pub(super) find_server: Duration,
    /// That a server works on one command, or waits for a majority.
    pub(super) work: Duration,
    /// Until a command's answer is there. More than `work`, so that the server has given up by
    /// then.
    pub(super) answer: Duration,
    /// That a commit is tried again before its caller hears of it. An election takes up to 12 s.
    pub(super) retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            find_server: Duration::from_secs(5),
            work: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            retry: Duration::from_secs(20),
        }
    }
}

/// Majority, journal, and not for ever.
pub(super) fn write_concern(limits: &Limits) -> WriteConcern {
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(limits.work)
        .build()
}

impl MongoSettings {
    /// The driver's options.
    pub(super) async fn target(&self, limits: &Limits) -> Result<Target, MongoSettingsError> {
        let mut options = match &self.uri {
            Some(uri) => self.by_uri(uri).await?,
            None => self.by_parts()?,
        };
        options
            .app_name
            .get_or_insert_with(|| "cloudai-master".to_owned());
        options.connect_timeout.get_or_insert(limits.find_server);
        options
            .server_selection_timeout
            .get_or_insert(limits.find_server);
        options.retry_reads.get_or_insert(true);
        options.retry_writes.get_or_insert(true);
        let mut limits = *limits;
        let asked = options.write_concern.as_ref();
        let asked = asked.and_then(|concern| concern.w_timeout);
        // Zero is "for ever", which nothing here may take.
        if let Some(work) = asked.filter(|work| !work.is_zero()) {
            limits.answer = work + (limits.answer - limits.work);
            limits.work = work;
        }
        // Reads go to the primary and writes to a majority, whatever the string asks for.
        options.selection_criteria = None;
        options.read_concern = None::<ReadConcern>;
        options.write_concern = Some(write_concern(&limits));
        let database = match (&self.database, &options.default_database) {
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => DATABASE.to_owned(),
        };
        check_database(&database)?;
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let place = format!("mongodb {}/{database}", hosts.join(","));
        Ok(Target {
            options,
            database,
            place,
            limits,
        })
    }

    async fn by_uri(&self, uri: &str) -> Result<ClientOptions, MongoSettingsError> {
        let others = [
            ("MONGODB_HOST", &self.host),
            ("MONGODB_USERNAME", &self.username),
            ("MONGODB_PASSWORD", &self.password),
        ];
        if let Some((other, _)) = others.iter().find(|(_, value)| value.is_some()) {
            return Err(MongoSettingsError::Both { other });
        }
        ClientOptions::parse(uri)
            .await
            .map_err(|error| match &*error.kind {
                mongodb::error::ErrorKind::DnsResolve { message, .. } => {
                    MongoSettingsError::Service {
                        problem: message.clone(),
                    }
                }
                _ => MongoSettingsError::Uri,
            })
    }

    fn by_parts(&self) -> Result<ClientOptions, MongoSettingsError> {
        let host = self.host.as_deref().unwrap_or(HOST);
        let wrong = || MongoSettingsError::Host {
            host: shown_host(host),
        };
        // The driver would take a user and a password for a part of the host's name, and show them.
        if host.contains('@') {
            return Err(wrong());
        }
        let addresses = host
            .split(',')
            .map(|address| ServerAddress::parse(address.trim()));
        let hosts = addresses.collect::<Result<Vec<_>, _>>();
        let hosts = hosts.map_err(|_| wrong())?;
        let credential = match (&self.username, &self.password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some(
                Credential::builder()
                    .username(username.clone())
                    .password(password.clone())
                    .build(),
            ),
            (None, Some(_)) => {
                let missing = "MONGODB_USERNAME";
                return Err(MongoSettingsError::Half { missing });
            }
            (Some(_), None) => {
                let missing = "MONGODB_PASSWORD";
                return Err(MongoSettingsError::Half { missing });
            }
        };
        Ok(ClientOptions::builder()
            .hosts(hosts)
            .credential(credential)
            .build())
    }
}

fn check_database(name: &str) -> Result<(), MongoSettingsError> {
    let valid = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if valid {
        return Ok(());
    }
    Err(MongoSettingsError::Database {
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_uri(uri: &str) -> MongoSettings {
        MongoSettings {
            uri: Some(uri.to_owned()),
            ..MongoSettings::default()
        }
    }

    async fn target(settings: &MongoSettings) -> Result<Target, MongoSettingsError> {
        settings.target(&Limits::default()).await
    }

    #[tokio::test]
    async fn nothing_set_is_the_database_of_this_machine() {
        let target = target(&MongoSettings::default()).await.unwrap();
        assert_eq!(target.place, "mongodb localhost:27017/cluster_db");
        assert!(target.options.credential.is_none());
    }

    #[tokio::test]
    async fn a_connection_string_or_its_parts_say_where_and_who() {
        let one_text = of_uri("mongodb://ann:s%40cret@db1:27018,db2/jobs?replicaSet=rs0&w=1");
        let parts = MongoSettings {
            host: Some("db1:27018, db2".to_owned()),
            username: Some("ann".to_owned()),
            password: Some("s@cret".to_owned()),
            database: Some("jobs".to_owned()),
            ..MongoSettings::default()
        };
        for settings in [one_text, parts] {
            let target = target(&settings).await.unwrap();
            assert_eq!(target.place, "mongodb db1:27018,db2:27017/jobs");
            let credential = target.options.credential.unwrap();
            assert_eq!(credential.username.as_deref(), Some("ann"));
            assert_eq!(credential.password.as_deref(), Some("s@cret"));
            let concern = target.options.write_concern.unwrap();
            assert_eq!(concern, write_concern(&Limits::default()));
        }
        let impatient = of_uri("mongodb://db1/?wTimeoutMS=700&serverSelectionTimeoutMS=900");
        let impatient = target(&impatient).await.unwrap();
        assert_eq!(impatient.limits.work, Duration::from_millis(700));
        assert_eq!(impatient.limits.answer, Duration::from_millis(5700));
        let find_server = impatient.options.server_selection_timeout;
        assert_eq!(find_server, Some(Duration::from_millis(900)));
        let mut elsewhere = of_uri("mongodb://db1/jobs");
        elsewhere.database = Some("others".to_owned());
        assert_eq!(target(&elsewhere).await.unwrap().database, "others");
    }

    #[tokio::test]
    async fn a_mistake_is_named_and_no_secret_is_said() {
        let parts = |host: &str, username: Option<&str>, password: Option<&str>| MongoSettings {
            host: Some(host.to_owned()),
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            ..MongoSettings::default()
        };
        let mut both = of_uri("mongodb://localhost");
        both.password = Some("hunter2".to_owned());
        let cases = [
            (of_uri("mongodb://ann:hunter2@x@db/"), "percent-encoded"),
            (of_uri("ann:hunter2@db"), "MONGODB_URI can't be read"),
            (
                of_uri("mongodb://ann:hunter2@db:port/"),
                "MONGODB_URI can't be read",
            ),
            (
                of_uri("mongodb://ann:hunter2@db/?tls=hunter2"),
                "MONGODB_URI can't be read",
            ),
            (of_uri("mongodb://ann:hunter2@db/a%20b"), "MONGODB_"),
            (both, "MONGODB_PASSWORD are both set"),
            (
                parts("localhost", None, Some("hunter2")),
                "MONGODB_USERNAME is missing",
            ),
            (
                parts("localhost", Some("ann"), None),
                "MONGODB_PASSWORD is missing",
            ),
            (parts("ann:hunter2@db:x", None, None), "expected host:port"),
            (parts("hunter2@db", None, None), "expected host:port"),
            (parts("db1,hunter2@db2:1", None, None), "expected host:port"),
        ];
        for (settings, said) in cases {
            let Err(error) = target(&settings).await else {
                panic!("taken: {settings:?}");
            };
            let shown = format!("{error} {error:?} {settings:?}");
            assert!(shown.contains(said), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[tokio::test]
    async fn the_drivers_options_show_no_password_either() {
        let target = target(&of_uri("mongodb://ann:hunter2@db/")).await.unwrap();
        let shown = format!("{:?} {}", target.options, target.place);
        assert!(
            !shown.contains("hunter2") && !shown.contains("ann"),
            "{shown}"
        );
    }
}
