//! Adds and removes profiles in `client.toml`. Everything else in the file stays as its author
//! wrote it, comments and order included.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use platform::durable;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::{ClientConfig, ClientConfigError, Profile, ProfileName, parse, read_text};

/// Permissions of the file: only its owner may read it.
const MODE: u32 = 0o600;

impl ClientConfig {
    /// Writes a profile to the file and replaces one of the same name. The first profile becomes
    /// the default. Durable when this returns; a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// See [`ClientConfigError`]; the file is then unchanged.
    pub fn add(
        path: &Path,
        name: &ProfileName,
        profile: &Profile,
    ) -> Result<(), ClientConfigError> {
        let (config, mut document) = read_document(path)?;
        if config.profiles.is_empty() && config.default.is_none() {
            document["default"] = value(name.as_str());
        }
        // An explicit `[profiles]` header would stand in the file with nothing below it.
        let mut parent = Table::new();
        parent.set_implicit(true);
        let profiles = document.entry("profiles").or_insert(Item::Table(parent));
        let section = as_table(profiles)
            .entry(name.as_str())
            .or_insert(Item::Table(Table::new()));
        fill(as_table(section), profile);
        write(path, &document.to_string())
    }

    /// Removes a profile from the file. If it was the default, no default is left.
    ///
    /// # Errors
    /// See [`ClientConfigError`]; the file is then unchanged.
    pub fn remove(path: &Path, name: &ProfileName) -> Result<(), ClientConfigError> {
        let (config, mut document) = read_document(path)?;
        config.profile(name)?;
        as_table(&mut document["profiles"]).remove(name.as_str());
        let mut comment = String::new();
        if config.default.as_ref() == Some(name)
            && let Some((key, _)) = document.as_table_mut().remove_entry("default")
        {
            // The comment above the key may be about the whole file.
            let above = key.leaf_decor().prefix().and_then(|prefix| prefix.as_str());
            comment.push_str(above.unwrap_or_default());
        }
        write(path, &format!("{comment}{document}"))
    }
}

/// The file as its values, which are then known to be valid, and as its text.
fn read_document(path: &Path) -> Result<(ClientConfig, DocumentMut), ClientConfigError> {
    let text = read_text(path)?.unwrap_or_default();
    let config = parse(path, &text)?;
    let document = text
        .parse::<DocumentMut>()
        .map_err(|error| ClientConfigError::Invalid {
            path: path.to_owned(),
            message: error.message().to_owned(), // without the line, which may have a token
        })?;
    Ok((config, document))
}

fn as_table(item: &mut Item) -> &mut dyn TableLike {
    item.as_table_like_mut()
        .expect("the configuration was parsed, and this is a table in it")
}

/// Replaces the keys of a profile; its place in the file stays.
fn fill(section: &mut dyn TableLike, profile: &Profile) {
    let Profile {
        server,
        token,
        token_file,
        token_command,
        token_variable,
        ca,
        insecure_http,
    } = profile;
    // A key of the old profile, such as another source for the token, must not stay.
    section.clear();
    let mut set = |key: &str, item: Item| drop(section.insert(key, item));
    set("server", value(server));
    if let Some(token) = token {
        set("token", value(token.secret()));
    }
    if let Some(path) = token_file {
        set("token-file", value(path.to_string_lossy().as_ref()));
    }
    if let Some(words) = token_command {
        set("token-command", value(Array::from_iter(words)));
    }
    if let Some(variable) = token_variable {
        set("token-variable", value(variable));
    }
    if let Some(path) = ca {
        set("ca", value(path.to_string_lossy().as_ref()));
    }
    if *insecure_http {
        set("insecure-http", value(true));
    }
}

fn write(path: &Path, text: &str) -> Result<(), ClientConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| durable::replace(path, text.as_bytes(), MODE))
        .map_err(|cause| ClientConfigError::Write {
            path: path.to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    use super::*;

    const OLD: &str = "# mine\ndefault = 'a'\n\n[profiles.a]\nserver = 'https://a' # there\ntoken = 'exh_a'\n\n# the other\n[profiles.b]\nserver = 'https://b'\ntoken-file = '/b'\n";

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new(text: &str) -> Self {
            let scratch = Self(tempfile::tempdir().expect("a folder"));
            fs::create_dir(scratch.0.path().join("exhibit")).expect("own folder");
            fs::write(scratch.path(), text).expect("own folder");
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o600))
                .expect("own file");
            scratch
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("exhibit/client.toml")
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).expect("own file")
        }
    }

    fn name(text: &str) -> ProfileName {
        text.parse().expect("a name")
    }

    fn profile(server: &str, token: &str) -> Profile {
        Profile {
            server: server.to_owned(),
            token: Some(token.parse().expect("a token")),
            token_file: None,
            token_command: None,
            token_variable: None,
            ca: Some("/ca \"1\".pem".into()),
            insecure_http: true,
        }
    }

    #[test]
    fn first_profile_creates_a_private_file_and_becomes_default() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/exhibit/client.toml");
        ClientConfig::add(&path, &name("a"), &profile("https://a", "exh_a")).expect("own folder");
        let metadata = fs::metadata(&path).expect("own file");
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().expect("a folder"))
                .expect("own folder")
                .mode()
                & 0o777,
            0o700
        );
        let config = ClientConfig::read(&path).expect("what was written");
        assert_eq!(config.default, Some(name("a")));
        assert_eq!(config.profiles[&name("a")], profile("https://a", "exh_a"));
        ClientConfig::add(&path, &name("b"), &profile("https://b", "exh_b")).expect("own folder");
        assert_eq!(
            ClientConfig::read(&path).expect("what was written").default,
            Some(name("a"))
        );
    }

    #[test]
    fn keeps_comments_and_other_profiles() {
        let scratch = Scratch::new(OLD);
        ClientConfig::add(
            &scratch.path(),
            &name("a"),
            &profile("https://new", "exh_new"),
        )
        .expect("own file");
        assert_eq!(
            scratch.text(),
            "# mine\ndefault = 'a'\n\n[profiles.a]\nserver = \"https://new\"\ntoken = \"exh_new\"\nca = '/ca \"1\".pem'\ninsecure-http = true\n\n# the other\n[profiles.b]\nserver = 'https://b'\ntoken-file = '/b'\n"
        );
        ClientConfig::remove(&scratch.path(), &name("a")).expect("own file");
        assert_eq!(
            scratch.text(),
            "# mine\n\n# the other\n[profiles.b]\nserver = 'https://b'\ntoken-file = '/b'\n"
        );
        let gone = ClientConfig::remove(&scratch.path(), &name("a"))
            .expect_err("it is gone")
            .to_string();
        assert_eq!(
            gone,
            "there is no profile a (did you mean \"b\"?); there are: b"
        );
    }

    #[test]
    fn edits_profiles_in_an_inline_table() {
        let scratch = Scratch::new("profiles = { a = { server = 'https://a' } } # all\n");
        let (a, b) = (
            profile("https://new", "exh_a"),
            profile("https://b", "exh_b"),
        );
        ClientConfig::add(&scratch.path(), &name("a"), &a).expect("own file");
        ClientConfig::add(&scratch.path(), &name("b"), &b).expect("own file");
        let config = ClientConfig::read(&scratch.path()).expect("what was written");
        assert_eq!(
            (&config.profiles[&name("a")], &config.profiles[&name("b")]),
            (&a, &b)
        );
        assert!(scratch.text().ends_with(" # all\n"), "{}", scratch.text());
        ClientConfig::remove(&scratch.path(), &name("a")).expect("own file");
        let config = ClientConfig::read(&scratch.path()).expect("what was written");
        assert_eq!(config.profiles.keys().collect::<Vec<_>>(), [&name("b")]);
    }
}
