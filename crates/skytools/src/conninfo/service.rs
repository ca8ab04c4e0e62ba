//! Connection service files, `pg_service.conf`.

use std::path::{Path, PathBuf};

use super::{ConnInfoError, Environment, options};

/// Where system-wide services are sought when `PGSYSCONFDIR` does not say.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// Settings of a service, from the first file that defines it.
pub(super) fn settings(
    service: &str,
    environment: &Environment,
) -> Result<Vec<(String, String)>, ConnInfoError> {
    let named = environment.variable("PGSERVICEFILE").map(PathBuf::from);
    let must_exist = named.is_some();
    let users = named.or_else(|| environment.home_file(".pg_service.conf"));
    let system = environment
        .variable("PGSYSCONFDIR")
        .map_or_else(|| PathBuf::from(SYSTEM_DIRECTORY), PathBuf::from)
        .join("pg_service.conf");
    let mut searched = Vec::new();
    for (file, must_exist) in users
        .into_iter()
        .map(|file| (file, must_exist))
        .chain([(system, false)])
    {
        searched.push(file.display().to_string());
        let text = match std::fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => continue,
            Err(error) => {
                return Err(ConnInfoError::ServiceFile {
                    file,
                    line: None,
                    problem: error.to_string(),
                });
            }
        };
        if let Some(settings) = section(&text, service, &file)? {
            return Ok(settings);
        }
    }
    Err(ConnInfoError::ServiceNotFound {
        service: service.to_owned(),
        searched: searched.join(", "),
    })
}

/// Settings of one `[section]`, if the text has it.
fn section(
    text: &str,
    service: &str,
    file: &Path,
) -> Result<Option<Vec<(String, String)>>, ConnInfoError> {
    let mut settings: Option<Vec<(String, String)>> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if settings.is_some() {
                break;
            }
            if name.strip_suffix(']') == Some(service) {
                settings = Some(Vec::new());
            }
            continue;
        }
        let Some(settings) = &mut settings else {
            continue;
        };
        let wrong = |problem: String| ConnInfoError::ServiceFile {
            file: file.to_owned(),
            line: Some(index + 1),
            problem,
        };
        let (name, value) = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .ok_or_else(|| wrong("not of the form key=value".to_owned()))?;
        if name == "service" {
            return Err(wrong(
                "a service cannot refer to another service".to_owned(),
            ));
        }
        options::check(name, value).map_err(|error| wrong(error.to_string()))?;
        // The first value counts, as in libpq.
        if !settings.iter().any(|(known, _)| known == name) {
            settings.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[one]\nhost=a\n\n port = 5433\nhost=ignored\n[two]\nhost=b\n";

    fn find(text: &str, service: &str) -> Result<Option<Vec<(String, String)>>, ConnInfoError> {
        section(text, service, Path::new("/f"))
    }

    #[test]
    fn a_section_ends_at_the_next_and_its_first_values_count() {
        let one = find(FILE, "one").expect("valid").expect("defined");
        assert_eq!(
            one,
            [
                ("host".to_owned(), "a".to_owned()),
                ("port".to_owned(), "5433".to_owned())
            ]
        );
        assert_eq!(find(FILE, "three").expect("valid"), None);
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (text, message) in [
            (
                "[s]\nservice=x",
                "service file /f, line 2: a service cannot refer to another service",
            ),
            (
                "[s]\nhost",
                "service file /f, line 2: not of the form key=value",
            ),
            (
                "[s]\n#\nhots=x",
                "service file /f, line 3: unknown connection option \"hots\"",
            ),
        ] {
            assert_eq!(find(text, "s").expect_err(text).to_string(), message);
        }
        // What another section holds is not looked at.
        assert_eq!(
            find("[t]\nnonsense\n[s]\n", "s").expect("valid"),
            Some(vec![])
        );
    }
}
