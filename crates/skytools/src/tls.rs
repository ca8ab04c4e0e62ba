//! TLS over rustls, with the meaning libpq gives to each `sslmode`.
//!
//! Some things differ from what rustls verifies by itself. `require` without a root file checks
//! nothing, and `verify-ca` checks the chain but not the name. A server's certificate that stands
//! itself in the root file is trusted as it is, so that a self-signed one can be its own root.
//! A certificate without any alternative name is matched by its common name, as libpq does. And a
//! version 1 certificate will do where no chain has to be verified.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName,
    SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::{rfc4519::COMMON_NAME, rfc5280::ID_CE_SUBJECT_ALT_NAME};
use x509_cert::der::{Decode, Encode};

use crate::conninfo::{Root, SslMode, TlsSettings, TlsVersions};

/// Why TLS cannot be set up; what the server does wrong comes from the handshake instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate, key or revocation list cannot be read.
    #[error("cannot read the {what} \"{}\": {problem}", file.display())]
    File {
        /// What the file holds.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A mode that verifies needs certificates to begin with.
    #[error(
        "sslmode needs a root certificate file, and {} does not exist; \
         provide it, name another with sslrootcert, or use sslrootcert=system",
        file.as_ref().map_or("~/.postgresql/root.crt".to_owned(), |file| format!("\"{}\"", file.display()))
    )]
    NoRoot {
        /// Where it was looked for.
        file: Option<PathBuf>,
    },
    /// The platform has no certificates, or they cannot be read.
    #[error("cannot load the root certificates of the system: {0}")]
    NoSystemRoots(String),
    /// There is no name to compare the certificate with.
    #[error("host name must be specified for a verified SSL connection: set host beside hostaddr")]
    NoHostName,
    /// The TLS library refuses the certificates.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

/// How much of the server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    Nothing,
    Chain,
    ChainAndName,
}

/// Makes what the driver does TLS with. `has_name` says whether the host is given by name.
pub(crate) fn connector(
    settings: &TlsSettings,
    has_name: bool,
) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.versions {
        TlsVersions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersions::Only12 => &[&rustls::version::TLS12],
        TlsVersions::Only13 => &[&rustls::version::TLS13],
    };
    let verifier = verifier(settings, has_name, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(setup)?
        // Nothing dangerous: the verifier does what libpq does, described above.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate(settings)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(setup)?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.server_name;
    // Servers insist on it for sslnegotiation=direct.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn verifier(
    settings: &TlsSettings,
    has_name: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsError> {
    let root_file = match &settings.root {
        Root::File(file) if file.exists() => Some(file),
        _ => None,
    };
    let verification = match settings.mode {
        SslMode::VerifyFull => Verification::ChainAndName,
        SslMode::VerifyCa => Verification::Chain,
        // As libpq does for those who set up a root file before the verifying modes existed.
        SslMode::Require if root_file.is_some() => Verification::Chain,
        _ => Verification::Nothing,
    };
    let algorithms = provider.signature_verification_algorithms;
    if verification == Verification::Nothing {
        return Ok(Verifier {
            algorithms,
            trust: None,
        });
    }
    if verification == Verification::ChainAndName && !has_name {
        return Err(TlsError::NoHostName);
    }
    let certificates = match (&settings.root, root_file) {
        (Root::System, _) => system_roots()?,
        (_, Some(file)) => certificates("root certificate file", file)?,
        (Root::File(file), None) => {
            return Err(TlsError::NoRoot {
                file: Some(file.clone()),
            });
        }
        (Root::Nowhere, None) => return Err(TlsError::NoRoot { file: None }),
    };
    let mut roots = RootCertStore::empty();
    // A file may hold certificates that cannot be roots beside ones that can.
    roots.add_parsable_certificates(certificates.iter().cloned());
    if roots.is_empty() {
        return Err(match root_file {
            Some(file) => TlsError::File {
                what: "root certificate file",
                file: file.clone(),
                problem: "no certificate in it can be a root".to_owned(),
            },
            None => TlsError::NoSystemRoots("none can be used".to_owned()),
        });
    }
    let mut builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(revoked) = revocation_lists(settings)? {
        builder = builder.with_crls(revoked).enforce_revocation_expiration();
    }
    Ok(Verifier {
        algorithms,
        trust: Some(Trust {
            chain: builder.build().map_err(setup)?,
            // Not those of the system: nobody chose them one by one.
            pinned: match settings.root {
                Root::System => Vec::new(),
                _ => certificates,
            },
            check_name: verification == Verification::ChainAndName,
        }),
    })
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty() {
        let errors: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemRoots(if errors.is_empty() {
            "there are none".to_owned()
        } else {
            errors.join(", ")
        }));
    }
    Ok(loaded.certs)
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |problem: String| TlsError::File {
        what,
        file: file.to_owned(),
        problem,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|problem| error(pem_problem(&problem)))?;
    if certificates.is_empty() {
        return Err(error("it holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

fn pem_problem(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(io) => io.to_string(),
        other => other.to_string(),
    }
}

fn revocation_lists(
    settings: &TlsSettings,
) -> Result<Option<Vec<CertificateRevocationListDer<'static>>>, TlsError> {
    let Some((file, asked_for)) = &settings.revoked else {
        return Ok(None);
    };
    if !asked_for && !file.exists() {
        return Ok(None);
    }
    let error = |problem: String| TlsError::File {
        what: "certificate revocation list",
        file: file.clone(),
        problem,
    };
    let lists = CertificateRevocationListDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|problem| error(pem_problem(&problem)))?;
    if lists.is_empty() {
        return Err(error("it holds no list in PEM form".to_owned()));
    }
    Ok(Some(lists))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(settings: &TlsSettings) -> Result<Option<Identity>, TlsError> {
    let Some((file, asked_for)) = &settings.certificate else {
        return Ok(None);
    };
    if !asked_for && !file.exists() {
        return Ok(None);
    }
    let chain = certificates("certificate", file)?;
    let Some(key_file) = &settings.key else {
        return Err(TlsError::Setup(format!(
            "there is no private key for certificate \"{}\"; set sslkey",
            file.display()
        )));
    };
    Ok(Some((chain, private_key(key_file)?)))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let error = |problem: String| TlsError::File {
        what: "private key",
        file: file.to_owned(),
        problem,
    };
    let metadata = fs::metadata(file).map_err(|problem| error(problem.to_string()))?;
    // As libpq: root may let a group read it, which is how distributions share one.
    let (forbidden, allowed) = if metadata.uid() == 0 {
        (0o037, "0640")
    } else {
        (0o077, "0600")
    };
    if metadata.is_file() && metadata.permissions().mode() & forbidden != 0 {
        return Err(error(format!(
            "group or others have access; permissions must be {allowed} or less"
        )));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|problem| {
        error(match problem {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "it holds no unencrypted key in PEM form; decrypt it with openssl pkey".to_owned()
            }
            other => pem_problem(&other),
        })
    })
}

/// Checks the server's certificate as far as the mode asks.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    /// Nothing is checked without it, except that the server owns the certificate's key.
    trust: Option<Trust>,
}

#[derive(Debug)]
struct Trust {
    chain: Arc<WebPkiServerVerifier>,
    /// Certificates of the root file: a server that shows one of them needs no chain.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = if trust.pinned.contains(end_entity) {
            check_dates(end_entity, now).and_then(|()| {
                match ParsedCertificate::try_from(end_entity) {
                    Ok(parsed) => rustls::client::verify_server_name(&parsed, server_name),
                    // Version 1, which has no alternative names; its common name counts below.
                    Err(_) => Err(rustls::Error::InvalidCertificate(
                        CertificateError::NotValidForNameContext {
                            expected: server_name.to_owned(),
                            presented: Vec::new(),
                        },
                    )),
                }
            })
        } else {
            trust
                .chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map(|_| ())
        };
        match verified {
            // The name is compared last, so everything else was in order.
            Err(error)
                if is_about_name(&error)
                    && (!trust.check_name || common_name_matches(end_entity, server_name)) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            other => other.map(|()| ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return rustls::crypto::verify_tls13_signature(
                message,
                certificate,
                signature,
                &self.algorithms,
            );
        }
        // A version 1 certificate; `verify_server_cert` has decided whether it is to be trusted.
        let key = parse(certificate)?
            .tbs_certificate
            .subject_public_key_info
            .to_der()
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key),
            signature,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_about_name(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

fn parse(certificate: &CertificateDer<'_>) -> Result<x509_cert::Certificate, rustls::Error> {
    x509_cert::Certificate::from_der(certificate)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let validity = parse(certificate)?.tbs_certificate.validity;
    let error = if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        CertificateError::NotValidYet
    } else if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        CertificateError::Expired
    } else {
        return Ok(());
    };
    Err(rustls::Error::InvalidCertificate(error))
}

/// Whether a certificate without alternative names has the server's as its common name.
fn common_name_matches(certificate: &CertificateDer<'_>, server_name: &ServerName<'_>) -> bool {
    let Ok(parsed) = parse(certificate) else {
        return false;
    };
    let tbs = parsed.tbs_certificate;
    let has_alternatives = tbs
        .extensions
        .iter()
        .flatten()
        .any(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME);
    if has_alternatives {
        return false;
    }
    let name = server_name.to_str();
    tbs.subject
        .0
        .iter()
        .flat_map(|set| set.0.iter())
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .any(|attribute| {
            let value = &attribute.value;
            let text = Utf8StringRef::try_from(value)
                .map(|text| text.as_str().to_owned())
                .or_else(|_| {
                    PrintableStringRef::try_from(value).map(|text| text.as_str().to_owned())
                })
                .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.as_str().to_owned()))
                .or_else(|_| {
                    TeletexStringRef::try_from(value).map(|text| text.as_str().to_owned())
                });
            text.is_ok_and(|pattern| name_matches(&pattern, &name))
        })
}

/// Compares without regard to case; `*.` at the start stands for exactly one label.
fn name_matches(pattern: &str, name: &str) -> bool {
    let matched = match pattern.strip_prefix("*.") {
        Some(domain) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => pattern.eq_ignore_ascii_case(name),
    };
    matched && !pattern.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(name_matches("DB.example.com", "db.example.com"));
        assert!(name_matches("*.example.com", "db.example.com"));
        assert!(!name_matches("*.example.com", "a.b.example.com"));
        assert!(!name_matches("*.example.com", "example.com"));
        assert!(!name_matches("*.example.com", ".example.com"));
        assert!(!name_matches("d*.example.com", "db.example.com"));
        assert!(!name_matches("db.example.com\0.evil.org", "db.example.com"));
        assert!(!name_matches("*", "db"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("key");
        fs::write(&file, "nothing").expect("written");
        let with_mode = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("changed");
            private_key(&file).expect_err("no key in it").to_string()
        };
        assert!(with_mode(0o644).contains("permissions must be"));
        assert!(with_mode(0o602).contains("permissions must be"));
        assert!(with_mode(0o600).contains("no unencrypted key"));
    }
}
