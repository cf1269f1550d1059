//! Profiles written into `client.toml` and taken out of it, whose other lines, with their comments,
//! stay as somebody wrote them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use platform::durable;
use toml::Value;

use super::{ClientConfig, ClientConfigError, Profile, ProfileName, parse, read_text};

/// Permissions of the file: its owner's.
const MODE: u32 = 0o600;

impl ClientConfig {
    /// Writes a profile into the file, in the place of one of the same name; the first one becomes
    /// the default. Durable when this returns, and whole or not there whenever the machine stops.
    ///
    /// # Errors
    /// See [`ClientConfigError`]; the file is then as it was.
    pub fn add(
        path: &Path,
        name: &ProfileName,
        profile: &Profile,
    ) -> Result<(), ClientConfigError> {
        let text = read_text(path)?.unwrap_or_default();
        let mut wanted = parse(path, &text)?;
        let mut new = without(&text, name);
        if wanted.profiles.is_empty() && wanted.default.is_none() {
            new.insert_str(0, &format!("default = {}\n", quoted(name.as_str())));
            wanted.default = Some(name.clone());
        }
        new.push_str(&section(name, profile));
        wanted.profiles.insert(name.clone(), profile.clone());
        replace(path, &new, &wanted, name)
    }

    /// Takes a profile out of the file. If it was the default, there is none then.
    ///
    /// # Errors
    /// See [`ClientConfigError`]; the file is then as it was.
    pub fn remove(path: &Path, name: &ProfileName) -> Result<(), ClientConfigError> {
        let text = read_text(path)?.unwrap_or_default();
        let mut wanted = parse(path, &text)?;
        wanted.profile(name)?;
        wanted.profiles.remove(name);
        let mut new = without(&text, name);
        if wanted.default.as_ref() == Some(name) {
            let is_default = |line: &&str| {
                line.split('=')
                    .next()
                    .is_some_and(|key| key.trim() == "default")
            };
            let (top, tables) = new.split_at(new.find('[').unwrap_or(new.len()));
            new = top
                .split_inclusive('\n')
                .filter(|line| !is_default(line))
                .collect::<String>()
                + tables;
            wanted.default = None;
        }
        replace(path, &new, &wanted, name)
    }
}

/// Writes `text`, if it says what is wanted and nothing else.
fn replace(
    path: &Path,
    text: &str,
    wanted: &ClientConfig,
    name: &ProfileName,
) -> Result<(), ClientConfigError> {
    if parse(path, text).ok().as_ref() != Some(wanted) {
        return Err(ClientConfigError::Edit {
            path: path.to_owned(),
            name: name.clone(),
        });
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let written = made.and_then(|()| durable::replace(path, text.as_bytes(), MODE));
    written.map_err(|cause| ClientConfigError::Write {
        path: path.to_owned(),
        cause,
    })
}

/// `text` without the section of a profile. Comments and empty lines at its end belong to what
/// comes after it.
fn without(text: &str, name: &ProfileName) -> String {
    let header = format!("[profiles.{name}]");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(begin) = lines.iter().position(|line| line.trim() == header) else {
        return text.to_owned();
    };
    let behind = lines[begin + 1..]
        .iter()
        .position(|line| line.trim_start().starts_with('['));
    let next = behind.map_or(lines.len(), |behind| begin + 1 + behind);
    let is_between = |line: &&str| matches!(line.trim_start().chars().next(), None | Some('#'));
    let kept = if behind.is_some() {
        lines[begin + 1..next]
            .iter()
            .rev()
            .take_while(|line| is_between(line))
            .count()
    } else {
        0
    };
    lines[..begin]
        .iter()
        .chain(&lines[next - kept..])
        .copied()
        .collect()
}

fn section(name: &ProfileName, profile: &Profile) -> String {
    let Profile {
        server,
        token,
        token_file,
        token_command,
        token_variable,
        ca,
        insecure_http,
    } = profile;
    let path = |path: &std::path::PathBuf| quoted(&path.to_string_lossy());
    let mut keys = vec![("server", quoted(server))];
    keys.extend(
        token
            .as_ref()
            .map(|token| ("token", quoted(token.secret()))),
    );
    keys.extend(token_file.as_ref().map(|file| ("token-file", path(file))));
    let array = |words: &Vec<String>| {
        format!(
            "[{}]",
            words
                .iter()
                .map(|word| quoted(word))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    keys.extend(
        token_command
            .as_ref()
            .map(|command| ("token-command", array(command))),
    );
    keys.extend(
        token_variable
            .as_ref()
            .map(|variable| ("token-variable", quoted(variable))),
    );
    keys.extend(ca.as_ref().map(|ca| ("ca", path(ca))));
    keys.extend(insecure_http.then(|| ("insecure-http", "true".to_owned())));
    let keys: String = keys
        .into_iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    format!("\n[profiles.{name}]\n{keys}")
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
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
    fn the_first_profile_makes_the_file_and_is_the_default() {
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
    fn what_somebody_wrote_stays() {
        let scratch = Scratch::new(OLD);
        ClientConfig::add(
            &scratch.path(),
            &name("a"),
            &profile("https://new", "exh_new"),
        )
        .expect("own file");
        let text = scratch.text();
        assert!(
            text.starts_with("# mine\ndefault = 'a'\n\n\n# the other\n[profiles.b]\n"),
            "{text}"
        );
        assert!(
            !text.contains("exh_a")
                && text.contains("[profiles.a]\nserver = \"https://new\"\ntoken = \"exh_new\"\n"),
            "{text}"
        );
        ClientConfig::remove(&scratch.path(), &name("a")).expect("own file");
        assert_eq!(
            scratch.text().trim(),
            "# mine\n\n\n# the other\n[profiles.b]\nserver = 'https://b'\ntoken-file = '/b'"
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
    fn what_cannot_be_changed_without_a_loss_is_left_as_it_is() {
        let inline = "profiles = { a = { server = 'https://a', token = 'exh_a' } }\n";
        let scratch = Scratch::new(inline);
        let refused = ClientConfig::add(
            &scratch.path(),
            &name("a"),
            &profile("https://new", "exh_new"),
        );
        assert!(
            matches!(refused, Err(ClientConfigError::Edit { .. })),
            "{refused:?}"
        );
        assert_eq!(scratch.text(), inline);
    }
}
