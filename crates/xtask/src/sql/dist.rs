//! What `sql/dist/` holds: installers in one file each, and the packaging as extensions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::source::{self, SqlFile};
use crate::Result;

/// An installer: its name, what it is for, and the scripts below `sql/` that it is made of.
struct Installer {
    name: &'static str,
    title: &'static str,
    scripts: &'static [&'static str],
}

/// The names are interface: installers look for them.
const INSTALLERS: &[Installer] = &[
    Installer {
        name: "pgq.sql",
        title: "PgQ, complete; can be run again.",
        scripts: &["pgq/install.sql"],
    },
    Installer {
        name: "pgq.upgrade.sql",
        title: "Brings a schema pgq of any supported age up to date.",
        scripts: &["pgq/exists.sql", "pgq/install.sql"],
    },
    Installer {
        name: "pgq_pl_only.sql",
        title: "PgQ, complete and without C, as is pgq.sql; can be run again.",
        scripts: &["pgq/install.sql"],
    },
    Installer {
        name: "pgq_pl_only.upgrade.sql",
        title: "Brings a schema pgq of any supported age up to date, without C, as does pgq.upgrade.sql.",
        scripts: &["pgq/exists.sql", "pgq/install.sql"],
    },
    Installer {
        name: "pgq_lowlevel.sql",
        title: "Lets the C library pgq_lowlevel of PgQ 3 insert events.",
        scripts: &["pgq/swap/lowlevel.sql"],
    },
    Installer {
        name: "pgq_triggers.sql",
        title: "Lets the C library pgq_triggers of PgQ 3 run the triggers.",
        scripts: &["pgq/swap/triggers.sql"],
    },
    Installer {
        name: "pgq_plpgsql.sql",
        title: "Takes back what pgq_lowlevel.sql and pgq_triggers.sql did.",
        scripts: &["pgq/swap/plpgsql.sql"],
    },
    Installer {
        name: "newgrants_pgq.sql",
        title: "Makes roles pgq_reader, pgq_writer and pgq_admin decide who may do what.",
        scripts: &["pgq/newgrants.sql"],
    },
    Installer {
        name: "oldgrants_pgq.sql",
        title: "Lets everybody use PgQ, as SkyTools 2 did.",
        scripts: &["pgq/oldgrants.sql"],
    },
    Installer {
        name: "adopt_pgq.sql",
        title: "Takes PgQ out of the extensions it is in; to be followed by pgq.upgrade.sql.",
        scripts: &["pgq/adopt.sql"],
    },
    Installer {
        name: "uninstall_pgq.sql",
        title: "Removes PgQ with its queues.",
        scripts: &["pgq/uninstall.sql"],
    },
    Installer {
        name: "pgq_ext.sql",
        title: "pgq_ext, complete; can be run again.",
        scripts: &["pgq_ext/install.sql"],
    },
    Installer {
        name: "pgq_ext.upgrade.sql",
        title: "Brings a schema pgq_ext of any supported age up to date.",
        scripts: &["pgq_ext/exists.sql", "pgq_ext/install.sql"],
    },
    Installer {
        name: "pgq_coop.sql",
        title: "pgq_coop, complete; needs pgq; can be run again.",
        scripts: &["pgq_coop/install.sql"],
    },
    Installer {
        name: "pgq_coop.upgrade.sql",
        title: "Brings a schema pgq_coop of any supported age up to date.",
        scripts: &["pgq_coop/exists.sql", "pgq_coop/install.sql"],
    },
    Installer {
        name: "txid.sql",
        title: "Checks that the server has transaction ids and snapshots; creates nothing.",
        scripts: &["txid/install.sql"],
    },
    Installer {
        name: "uninstall_txid.sql",
        title: "Removes nothing: transaction ids and snapshots belong to the server.",
        scripts: &["txid/uninstall.sql"],
    },
];

/// A schema that can be packaged as an extension.
struct Extension {
    name: &'static str,
    comment: &'static str,
    /// Schemas that are its own.
    schemas: &'static str,
    requires: &'static [&'static str],
}

const EXTENSIONS: &[Extension] = &[
    Extension {
        name: "pgq",
        comment: "Queues inside the database",
        schemas: "pgq, pgq_gen",
        requires: &[],
    },
    Extension {
        name: "pgq_ext",
        comment: "Remembers in a target database what consumers of PgQ applied there",
        schemas: "pgq_ext",
        requires: &[],
    },
    Extension {
        name: "pgq_coop",
        comment: "Consumers of PgQ that share the work",
        schemas: "pgq_coop",
        requires: &["pgq"],
    },
];

/// The files of `sql/dist/`, by name.
pub(super) fn build(sql: &Path) -> Result<BTreeMap<String, String>> {
    let mut dist = BTreeMap::new();
    for installer in INSTALLERS {
        if !present(sql, installer.name) {
            continue;
        }
        let mut text = head(installer.title);
        for script in installer.scripts {
            let files = source::files(sql, script)?;
            check_headers(&files)?;
            append(&mut text, &files);
        }
        if installer.name.ends_with(".upgrade.sql") {
            version(installer.name, &text)?;
        }
        dist.insert(installer.name.to_owned(), text);
    }
    for extension in EXTENSIONS {
        if !present(sql, extension.name) {
            continue;
        }
        extension.build(sql, &mut dist)?;
    }
    for (name, text) in &dist {
        if let Some(line) = text.lines().find(|line| line.starts_with('\\')) {
            return Err(format!("{name}: psql alone understands {line}").into());
        }
    }
    Ok(dist)
}

impl Extension {
    fn build(&self, sql: &Path, dist: &mut BTreeMap<String, String>) -> Result {
        let name = self.name;
        let template = |file: &str| -> Result<SqlFile> {
            let path = format!("extension/{file}");
            let text = fs::read_to_string(sql.join(&path))?
                .replace("@extension@", name)
                .replace("@schemas@", self.schemas);
            Ok(SqlFile { path, text })
        };
        let files = source::files(sql, &format!("{name}/install.sql"))?;
        let mut all = String::new();
        append(&mut all, &files);
        let version = version(name, &all)?;

        let mut fresh = head(&format!("Extension {name}, version {version}."));
        append(&mut fresh, &[template("fresh.sql")?]);
        append(&mut fresh, &files);
        append(&mut fresh, &[template("dump.sql")?]);
        dist.insert(format!("{name}--{version}.sql"), fresh);

        let mut adopt = head(&format!("Makes an installed {name} the extension {name}."));
        append(&mut adopt, &[template("adopt.sql")?]);
        append(&mut adopt, &files);
        append(&mut adopt, &[template("dump.sql")?]);
        dist.insert(format!("{name}--unpackaged--{version}.sql"), adopt);
        dist.insert(
            format!("{name}--unpackaged.sql"),
            head(&format!(
                "What an installed {name} is before: create extension {name} version 'unpackaged';\n\
                 -- alter extension {name} update;"
            )),
        );

        let mut control = format!(
            "# Generated by `cargo xtask sql`.\ncomment = '{}'\ndefault_version = '{version}'\n\
             relocatable = false\nschema = pg_catalog\nsuperuser = true\n",
            self.comment
        );
        if !self.requires.is_empty() {
            control.push_str(&format!("requires = '{}'\n", self.requires.join(", ")));
        }
        dist.insert(format!("{name}.control"), control);
        Ok(())
    }
}

/// pgq_coop is built where its sources are.
fn present(sql: &Path, name: &str) -> bool {
    !name.starts_with("pgq_coop") || sql.join("pgq_coop/install.sql").exists()
}

/// Every function says in its body what it does and who uses it.
fn check_headers(files: &[SqlFile]) -> Result {
    for file in files {
        for function in source::functions(file)? {
            let used = function.sections.iter().any(|(name, _)| name == "Used by");
            if !used || function.summary.is_empty() || function.returns.is_empty() {
                let (path, signature) = (&file.path, &function.signature);
                return Err(format!("{path}: the header of {signature} lacks its users").into());
            }
        }
    }
    Ok(())
}

fn head(title: &str) -> String {
    format!(
        "-- {title}\n-- Generated by `cargo xtask sql` from the files it names: change those.\n"
    )
}

fn append(text: &mut String, files: &[SqlFile]) {
    for file in files {
        text.push_str(&format!("\n-- {}\n{}", file.path, file.text));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
}

/// The version that upgraders read from an installer: of the only line of its form.
fn version(name: &str, text: &str) -> Result<String> {
    let mut versions = text.lines().filter_map(|line| {
        let number = line
            .strip_prefix(' ')?
            .trim()
            .strip_prefix("return '")?
            .strip_suffix("';")?;
        let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        digits.then(|| number.to_owned())
    });
    match (versions.next(), versions.next()) {
        (Some(version), None) => Ok(version),
        (None, _) => Err(format!("{name}: no line like \"    return '3.6';\"").into()),
        (Some(a), Some(b)) => {
            Err(format!("{name}: two lines that look like the version, {a} and {b}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_only_line_of_its_form() {
        let line = "begin\n    return '3.6.0';\nend";
        assert_eq!(version("x", line).unwrap(), "3.6.0");
        assert!(version("x", "return '3.6.0';\n    return 'old';").is_err());
        assert!(version("x", &format!("{line}\n{line}")).is_err());
    }
}
