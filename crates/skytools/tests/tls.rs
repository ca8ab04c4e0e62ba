//! Every `sslmode` against servers with good, bad and no certificates.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use skytools::conninfo::{ConnInfo, Environment};
use skytools::db::{Connection, DbError};
use tempfile::TempDir;
use testkit::{Cluster, TestResult, wait_until};

/// An authority with a private key.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> TestResult<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A certificate and its key, in PEM form.
struct Issued {
    certificate: String,
    key: String,
}

/// A certificate for alternative names; its common name is `common`.
fn issue(by: &Authority, common: &str, names: &[&str]) -> TestResult<Issued> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common);
    params.serial_number = Some(SerialNumber::from(4711));
    sign(params, by)
}

fn sign(params: CertificateParams, by: &Authority) -> TestResult<Issued> {
    let key = KeyPair::generate()?;
    Ok(Issued {
        certificate: params.signed_by(&key, by)?.pem(),
        key: key.serialize_pem(),
    })
}

/// A server on 127.0.0.1 that shows a certificate.
fn serve(issued: &Issued, hba: &str, client_authority: Option<&Authority>) -> TestResult<Cluster> {
    let cluster = Cluster::builder()
        .tcp()
        .hba(&format!("local all all trust\n{hba}"))
        .start()?;
    let data = cluster.data_dir();
    let write = |name: &str, text: &str| -> TestResult {
        let path = data.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(data.join("PG_VERSION"))?;
        chown(&path, Some(owner.uid()), Some(owner.gid()))?;
        Ok(())
    };
    write("server.crt", &issued.certificate)?;
    write("server.key", &issued.key)?;
    cluster.append_conf("ssl = on\n")?;
    if let Some(authority) = client_authority {
        write("clients.crt", &authority.pem())?;
        cluster.append_conf("ssl_ca_file = 'clients.crt'\n")?;
    }
    cluster.reload()?;
    wait_until("the server to speak TLS", Duration::from_secs(60), || {
        let row = cluster.connect("postgres")?.query_one("show ssl", &[])?;
        Ok(row.get::<_, String>(0) == "on")
    })?;
    Ok(cluster)
}

/// Files of the client, in a home directory of its own.
struct Home(TempDir);

impl Home {
    fn new() -> TestResult<Home> {
        let home = tempfile::tempdir()?;
        fs::create_dir(home.path().join(".postgresql"))?;
        Ok(Home(home))
    }

    fn write(&self, name: &str, text: &str) -> TestResult<String> {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    }

    fn open(&self, cluster: &Cluster, settings: &str) -> Result<Connection, DbError> {
        let text = format!("port={} dbname=postgres {settings}", cluster.port());
        let environment = Environment::empty()
            .with_user("postgres")
            .with_home(self.0.path())
            .with_socket_directories(&[Path::new("/nowhere")]);
        let conninfo = ConnInfo::parse(&text).expect("settings");
        Connection::open("test_db", &conninfo.with_environment(environment))
    }

    /// Whether the connection that comes about is encrypted.
    fn encrypted(&self, cluster: &Cluster, settings: &str) -> bool {
        let mut db = match self.open(cluster, settings) {
            Ok(db) => db,
            Err(error) => panic!("{settings}: {}", error.reason()),
        };
        let sql =
            "select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)";
        db.query_typed_one(sql, &[]).expect(sql).get(0)
    }

    fn refused(&self, cluster: &Cluster, settings: &str) -> String {
        match self.open(cluster, settings) {
            Ok(_) => panic!("connected with {settings}"),
            Err(error) => error.reason(),
        }
    }
}

const EVERYBODY: &str = "host all all 127.0.0.1/32 trust\n";

#[test]
fn each_mode_verifies_what_it_should() -> TestResult {
    let ours = authority("ours")?;
    let cluster = serve(
        &issue(&ours, "x", &["localhost", "127.0.0.1"])?,
        EVERYBODY,
        None,
    )?;
    let home = Home::new()?;
    let right = home.write("right.crt", &ours.pem())?;
    let wrong = home.write("wrong.crt", &authority("theirs")?.pem())?;
    for (mode, encrypted) in [
        ("disable", false),
        ("allow", false),
        ("prefer", true),
        ("require", true),
    ] {
        for host in ["localhost", "127.0.0.1"] {
            let settings = format!("host={host} sslmode={mode}");
            assert_eq!(home.encrypted(&cluster, &settings), encrypted, "{settings}");
        }
    }
    assert!(
        home.encrypted(&cluster, "host=localhost"),
        "prefer is the default"
    );
    for mode in ["require", "verify-ca", "verify-full"] {
        for host in ["localhost", "127.0.0.1"] {
            let settings = format!("host={host} sslmode={mode}");
            assert!(home.encrypted(&cluster, &format!("{settings} sslrootcert={right}")));
            let reason = home.refused(&cluster, &format!("{settings} sslrootcert={wrong}"));
            assert!(
                reason.contains("invalid peer certificate: UnknownIssuer"),
                "{reason}"
            );
        }
    }
    for mode in ["verify-ca", "verify-full"] {
        let reason = home.refused(&cluster, &format!("host=localhost sslmode={mode}"));
        assert!(reason.contains("root.crt\" does not exist"), "{reason}");
        let reason = home.refused(
            &cluster,
            &format!("host=localhost sslmode={mode} sslrootcert=/nowhere"),
        );
        assert!(reason.contains("\"/nowhere\" does not exist"), "{reason}");
    }
    // The address takes us there, the name is for the certificate.
    let by_address = format!("hostaddr=127.0.0.1 sslrootcert={right}");
    assert!(home.encrypted(
        &cluster,
        &format!("{by_address} host=localhost sslmode=verify-full")
    ));
    assert!(home.encrypted(&cluster, &format!("{by_address} sslmode=verify-ca")));
    let reason = home.refused(&cluster, &format!("{by_address} sslmode=verify-full"));
    assert!(reason.contains("host name must be specified"), "{reason}");
    // The system's authorities have not signed it.
    let reason = home.refused(&cluster, "host=localhost sslrootcert=system");
    assert!(
        reason.contains("UnknownIssuer") || reason.contains("root certificates of the system"),
        "{reason}"
    );
    let reason = home.refused(
        &cluster,
        "host=localhost sslrootcert=system sslmode=require",
    );
    assert!(
        reason.contains("sslrootcert=system needs sslmode=verify-full"),
        "{reason}"
    );
    // The default root file makes `require` verify.
    home.write(".postgresql/root.crt", &authority("theirs")?.pem())?;
    assert!(
        home.refused(&cluster, "host=localhost sslmode=require")
            .contains("UnknownIssuer")
    );
    home.write(".postgresql/root.crt", &ours.pem())?;
    assert!(home.encrypted(&cluster, "host=localhost sslmode=verify-full"));
    // A file that holds no certificate.
    let empty = home.write("empty.crt", "nothing")?;
    let reason = home.refused(
        &cluster,
        &format!("host=localhost sslmode=verify-ca sslrootcert={empty}"),
    );
    assert!(reason.contains("no certificate in PEM form"), "{reason}");
    // On a socket there is no TLS whatever the mode says, as in libpq.
    let socket = format!(
        "host={} sslmode=verify-full",
        cluster.socket_dir().display()
    );
    assert!(!home.encrypted(&cluster, &socket));
    // A cancel request takes the same way.
    let db = home.open(&cluster, "host=localhost sslmode=verify-full");
    db?.canceller().cancel()?;
    Ok(())
}

#[test]
fn a_name_that_is_not_in_the_certificate_is_refused_by_verify_full_only() -> TestResult {
    let ours = authority("ours")?;
    // Only names in the extension count when there is one.
    let cluster = serve(
        &issue(&ours, "localhost", &["db.example.com"])?,
        EVERYBODY,
        None,
    )?;
    let home = Home::new()?;
    let right = home.write("right.crt", &ours.pem())?;
    let base = format!("host=localhost sslrootcert={right}");
    assert!(home.encrypted(&cluster, &format!("{base} sslmode=verify-ca")));
    let reason = home.refused(&cluster, &format!("{base} sslmode=verify-full"));
    assert!(reason.contains("not valid for name"), "{reason}");
    let there = format!("host=db.example.com hostaddr=127.0.0.1 sslrootcert={right}");
    assert!(home.encrypted(&cluster, &format!("{there} sslmode=verify-full")));
    Ok(())
}

#[test]
fn a_certificate_without_alternative_names_is_matched_by_its_common_name() -> TestResult {
    let ours = authority("ours")?;
    let cluster = serve(&issue(&ours, "localhost", &[])?, EVERYBODY, None)?;
    let home = Home::new()?;
    let right = home.write("right.crt", &ours.pem())?;
    let base = format!("sslmode=verify-full sslrootcert={right}");
    assert!(home.encrypted(&cluster, &format!("{base} host=localhost")));
    let reason = home.refused(&cluster, &format!("{base} host=127.0.0.1"));
    assert!(reason.contains("not valid for name"), "{reason}");
    Ok(())
}

#[test]
fn a_self_signed_certificate_can_be_its_own_root() -> TestResult {
    // As `openssl req -x509` makes them: an authority, though it is a server's.
    let own = |name: &str| -> TestResult<Issued> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        Ok(Issued {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    };
    let servers = own("localhost")?;
    let cluster = serve(&servers, EVERYBODY, None)?;
    let home = Home::new()?;
    let right = home.write("right.crt", &servers.certificate)?;
    let same_name = home.write("same_name.crt", &own("localhost")?.certificate)?;
    for mode in ["require", "verify-ca", "verify-full"] {
        let base = format!("host=localhost sslmode={mode}");
        assert!(
            home.encrypted(&cluster, &format!("{base} sslrootcert={right}")),
            "{mode}"
        );
        home.refused(&cluster, &format!("{base} sslrootcert={same_name}"));
    }
    let other_name = format!("host=127.0.0.1 sslrootcert={right}");
    assert!(home.encrypted(&cluster, &format!("{other_name} sslmode=verify-ca")));
    let reason = home.refused(&cluster, &format!("{other_name} sslmode=verify-full"));
    assert!(reason.contains("not valid for name"), "{reason}");
    Ok(())
}

#[test]
fn an_expired_certificate_is_refused_even_as_its_own_root() -> TestResult {
    let ours = authority("ours")?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    let expired = sign(params, &ours)?;
    let cluster = serve(&expired, EVERYBODY, None)?;
    let home = Home::new()?;
    for pem in [ours.pem(), expired.certificate] {
        let root = home.write("root.crt", &format!("{}{pem}", ours.pem()))?;
        let reason = home.refused(
            &cluster,
            &format!("host=localhost sslmode=verify-ca sslrootcert={root}"),
        );
        assert!(reason.to_lowercase().contains("expired"), "{reason}");
    }
    Ok(())
}

#[test]
fn a_revoked_certificate_is_refused() -> TestResult {
    let ours = authority("ours")?;
    let cluster = serve(&issue(&ours, "x", &["localhost"])?, EVERYBODY, None)?;
    let home = Home::new()?;
    let root = home.write("root.crt", &ours.pem())?;
    let list = |serial: u64| -> TestResult<String> {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&ours)?.pem()?)
    };
    let base = format!("host=localhost sslrootcert={root}");
    let others = home.write("others.crl", &list(1)?)?;
    let this = home.write("this.crl", &list(4711)?)?;
    for mode in ["verify-ca", "verify-full"] {
        let base = format!("{base} sslmode={mode}");
        assert!(home.encrypted(&cluster, &format!("{base} sslcrl={others}")));
        let reason = home.refused(&cluster, &format!("{base} sslcrl={this}"));
        assert!(reason.contains("Revoked"), "{reason}");
    }
    home.write(".postgresql/root.crl", &list(4711)?)?;
    assert!(
        home.refused(&cluster, &format!("{base} sslmode=verify-ca"))
            .contains("Revoked")
    );
    Ok(())
}

#[test]
fn a_server_without_tls_is_told_from_one_with() -> TestResult {
    let cluster = Cluster::builder().tcp().start()?;
    let home = Home::new()?;
    let root = home.write("root.crt", &authority("ours")?.pem())?;
    for mode in ["disable", "allow", "prefer"] {
        assert!(!home.encrypted(&cluster, &format!("host=localhost sslmode={mode}")));
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let settings = format!("host=localhost sslmode={mode} sslrootcert={root}");
        let reason = home.refused(&cluster, &settings);
        assert!(reason.contains("server does not support TLS"), "{reason}");
    }
    Ok(())
}

#[test]
fn allow_and_prefer_turn_to_what_the_server_admits() -> TestResult {
    let ours = authority("ours")?;
    let issued = issue(&ours, "x", &["localhost"])?;
    let home = Home::new()?;
    let only_tls = serve(&issued, "hostssl all all 127.0.0.1/32 trust\n", None)?;
    assert!(home.encrypted(&only_tls, "host=localhost sslmode=allow"));
    assert!(home.encrypted(&only_tls, "host=localhost sslmode=prefer"));
    let reason = home.refused(&only_tls, "host=localhost sslmode=disable");
    assert!(reason.contains("no encryption"), "{reason}");
    let only_plain = serve(&issued, "hostnossl all all 127.0.0.1/32 trust\n", None)?;
    assert!(!home.encrypted(&only_plain, "host=localhost sslmode=prefer"));
    home.refused(&only_plain, "host=localhost sslmode=require");
    Ok(())
}

#[test]
fn a_client_certificate_opens_the_door() -> TestResult {
    let ours = authority("ours")?;
    let cluster = serve(
        &issue(&ours, "x", &["localhost"])?,
        "hostssl all all 127.0.0.1/32 cert\n",
        Some(&ours),
    )?;
    let mine = issue(&ours, "postgres", &[])?;
    let home = Home::new()?;
    let certificate = home.write("mine.crt", &mine.certificate)?;
    let key = home.write("mine.key", &mine.key)?;
    let base = "host=localhost sslmode=require";
    assert!(home.encrypted(
        &cluster,
        &format!("{base} sslcert={certificate} sslkey={key}")
    ));
    home.refused(&cluster, base);
    let reason = home.refused(&cluster, &format!("{base} sslcert={certificate}"));
    assert!(reason.contains("cannot read the private key"), "{reason}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let reason = home.refused(
        &cluster,
        &format!("{base} sslcert={certificate} sslkey={key}"),
    );
    assert!(reason.contains("group or others have access"), "{reason}");
    // From their usual places.
    home.write(".postgresql/postgresql.crt", &mine.certificate)?;
    home.write(".postgresql/postgresql.key", &mine.key)?;
    assert!(home.encrypted(&cluster, base));
    home.refused(&cluster, &format!("{base} sslcertmode=disable"));
    Ok(())
}

#[test]
fn a_password_can_be_bound_to_the_channel() -> TestResult {
    let ours = authority("ours")?;
    let cluster = serve(
        &issue(&ours, "x", &["localhost"])?,
        "host all all 127.0.0.1/32 scram-sha-256\n",
        None,
    )?;
    cluster
        .connect("postgres")?
        .batch_execute("alter role postgres password 'secret'")?;
    let home = Home::new()?;
    let base = "host=localhost password=secret channel_binding=require";
    assert!(home.encrypted(&cluster, &format!("{base} sslmode=require")));
    let reason = home.refused(&cluster, &format!("{base} sslmode=disable"));
    assert!(reason.contains("channel binding"), "{reason}");
    for versions in [
        "ssl_min_protocol_version=TLSv1.3",
        "ssl_max_protocol_version=TLSv1.2",
    ] {
        let mut db = home.open(&cluster, &format!("{base} {versions}"))?;
        let row = db.query_typed_one(
            "select version from pg_stat_ssl where pid = pg_backend_pid()",
            &[],
        )?;
        assert!(versions.ends_with(row.get::<_, &str>(0)), "{versions}");
    }
    Ok(())
}

/// As `openssl x509 -req` makes them without an extension file: version 1, for `localhost`, valid
/// from 2020 to 2120.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBETCBuAIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcN
MjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2Fs
aG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNVxItS0FVTGDS66UY8wJtxb
84FsH2krojA+xdwDysUAAp0YfPPh2+9mMnuIaUnvId7R1LCNMKC+v6MzwlGY02gw
CgYIKoZIzj0EAwIDSAAwRQIhAKNg/uvs6qbaWgtTZ/VvXzY1/+Pkk21Sg0rCIkN8
5c/5AiATWIpAR9PkGOzwWkZeTfL3G22py+o8lT2EcathcNoDAQ==
-----END CERTIFICATE-----
";

/// The key of [`VERSION_1`], which opens nothing outside of these tests.
const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaVnn7IqJ0+Xklgxm
/Q3mYJ2ZGsTTwtjZQjqvOhqyF8mhRANCAATVcSLUtBVUxg0uulGPMCbcW/OBbB9p
K6IwPsXcA8rFAAKdGHzz4dvvZjJ7iGlJ7yHe0dSwjTCgvr+jM8JRmNNo
-----END PRIVATE KEY-----
";

#[test]
fn a_version_1_certificate_will_do_where_no_chain_is_asked_for() -> TestResult {
    let issued = Issued {
        certificate: VERSION_1.to_owned(),
        key: VERSION_1_KEY.to_owned(),
    };
    let cluster = serve(&issued, EVERYBODY, None)?;
    let home = Home::new()?;
    for mode in ["prefer", "require"] {
        assert!(
            home.encrypted(&cluster, &format!("host=localhost sslmode={mode}")),
            "{mode}"
        );
    }
    let own = home.write("own.crt", VERSION_1)?;
    for mode in ["require", "verify-ca", "verify-full"] {
        let settings = format!("host=localhost sslmode={mode} sslrootcert={own}");
        assert!(home.encrypted(&cluster, &settings), "{settings}");
    }
    let reason = home.refused(
        &cluster,
        &format!("host=127.0.0.1 sslmode=verify-full sslrootcert={own}"),
    );
    assert!(reason.contains("not valid for name"), "{reason}");
    let ours = home.write("ours.crt", &authority("ours")?.pem())?;
    home.refused(
        &cluster,
        &format!("host=localhost sslmode=verify-ca sslrootcert={ours}"),
    );
    Ok(())
}
