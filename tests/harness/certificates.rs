//! Certificates as people make them, with the `openssl` command line, and as programs make them, with rcgen. Made
//! once per run; every test reads the same ones.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Who signs, and with which tool.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// `openssl req -x509`, an EC key: the authority of the tutorials.
    pub(crate) authority: Pem,
    /// The same with an RSA key.
    pub(crate) rsa_authority: Pem,
    /// One that no hub has heard of.
    pub(crate) unknown_authority: Pem,
    /// CN `d1`, signed by `openssl x509 -req`, which makes version 1. EC key.
    pub(crate) v1_ec: Pem,
    /// The same under the RSA authority, RSA key.
    pub(crate) v1_rsa: Pem,
    /// CN `d1/m1`, version 1, with the backslash of the tutorial's subject.
    pub(crate) v1_module: Pem,
    /// CN `d1`, self-signed by `openssl req -x509`: version 3 with CA:TRUE. EC key.
    pub(crate) self_signed_ec: Pem,
    /// The same, RSA key.
    pub(crate) self_signed_rsa: Pem,
}

impl Certificates {
    /// Those of this run.
    pub(crate) fn get() -> &'static Self {
        static MADE: OnceLock<Certificates> = OnceLock::new();
        MADE.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let openssl = OpenSsl(folder.path());
            let authority = openssl.self_signed("authority", "/CN=Test authority", EC);
            let rsa_authority = openssl.self_signed("rsa-authority", "/CN=Test RSA authority", RSA);
            Self {
                unknown_authority: openssl.self_signed("unknown", "/CN=Test authority", EC),
                v1_ec: openssl.signed("v1-ec", "/CN=d1", EC, "authority"),
                v1_rsa: openssl.signed("v1-rsa", "/CN=d1", RSA, "rsa-authority"),
                v1_module: openssl.signed("v1-module", r"/CN=d1\/m1", EC, "authority"),
                self_signed_ec: openssl.self_signed("self-ec", "/CN=d1", EC),
                self_signed_rsa: openssl.self_signed("self-rsa", "/CN=d1", RSA),
                authority,
                rsa_authority,
            }
        })
    }
}

/// A version 3 leaf as programs make it: CA:FALSE, client authentication.
pub(crate) fn v3_leaf(common_name: &str, authority: &Pem) -> Pem {
    leaf(&params(common_name), authority)
}

/// One whose time is over.
pub(crate) fn expired_leaf(common_name: &str, authority: &Pem) -> Pem {
    let mut params = params(common_name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    leaf(&params, authority)
}

/// One whose time has not begun.
pub(crate) fn future_leaf(common_name: &str, authority: &Pem) -> Pem {
    let mut params = params(common_name);
    params.not_before = rcgen::date_time_ymd(2200, 1, 1);
    params.not_after = rcgen::date_time_ymd(2201, 1, 1);
    leaf(&params, authority)
}

/// A self-signed leaf without CA:TRUE.
pub(crate) fn self_signed_leaf(common_name: &str) -> Pem {
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params(common_name).self_signed(&key).expect("rcgen makes certificates").pem();
    Pem { certificate, key: key.serialize_pem() }
}

/// An authority as programs make it, with a fresh key.
pub(crate) fn authority(common_name: &str) -> Pem {
    let key = KeyPair::generate().expect("ring makes keys");
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = Vec::new();
    Pem {
        certificate: params.self_signed(&key).expect("rcgen makes certificates").pem(),
        key: key.serialize_pem(),
    }
}

impl Pem {
    /// Upper-case hex of the certificate's SHA-1, as portals show it.
    pub(crate) fn sha1(&self) -> String {
        self.digest("-sha1")
    }

    /// The same of SHA-256.
    pub(crate) fn sha256(&self) -> String {
        self.digest("-sha256")
    }

    fn digest(&self, algorithm: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("it.pem"), &self.certificate).expect("a temporary file");
        let output =
            OpenSsl(folder.path()).run(&["x509", "-in", "it.pem", "-noout", "-fingerprint", algorithm]);
        let (_, digest) = output.trim().split_once('=').expect("openssl prints name=digest");
        digest.replace(':', "")
    }
}

const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

/// The command line in a folder.
struct OpenSsl<'a>(&'a Path);

impl OpenSsl<'_> {
    fn self_signed(&self, name: &str, subject: &str, algorithm: &[&str]) -> Pem {
        let (key, certificate) = (self.key(name, algorithm), format!("{name}.pem"));
        self.run(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &key,
            "-subj",
            subject,
            "-days",
            "30",
            "-out",
            &certificate,
        ]);
        self.pem(name)
    }

    fn signed(&self, name: &str, subject: &str, algorithm: &[&str], authority: &str) -> Pem {
        let (key, request, certificate) =
            (self.key(name, algorithm), format!("{name}.csr"), format!("{name}.pem"));
        self.run(&["req", "-new", "-key", &key, "-subj", subject, "-out", &request]);
        let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let signing = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        self.run(&[&signing[..], &["-days", "30", "-out", &certificate]].concat());
        self.pem(name)
    }

    fn key(&self, name: &str, algorithm: &[&str]) -> String {
        let file = format!("{name}.key");
        self.run(&[&["genpkey"], algorithm, &["-out", &file]].concat());
        file
    }

    fn pem(&self, name: &str) -> Pem {
        let read = |suffix: &str| {
            std::fs::read_to_string(self.0.join(format!("{name}.{suffix}")))
                .expect("openssl wrote its output")
        };
        Pem { certificate: read("pem"), key: read("key") }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.0)
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("openssl prints text")
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn leaf(params: &CertificateParams, authority: &Pem) -> Pem {
    let signer = KeyPair::from_pem(&authority.key).expect("the authority's key is PKCS #8");
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).expect("rcgen reads the authority");
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params.signed_by(&key, &issuer).expect("rcgen signs").pem();
    Pem { certificate, key: key.serialize_pem() }
}
