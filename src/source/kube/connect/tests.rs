use std::fs;

use super::*;

/// A Pod's surroundings in a folder of its own, with as much in it as a test asks for.
struct Place {
    folder: tempfile::TempDir,
    around: Surroundings,
}

impl Place {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let around = Surroundings {
            service_account: folder.path().join("account"),
            host: None,
            port: None,
            kubeconfigs: vec![folder.path().join("config")],
        };
        fs::create_dir(&around.service_account).unwrap();
        Self { folder, around }
    }

    fn with_service_account(self) -> Self {
        fs::write(self.around.service_account.join("token"), "secret").unwrap();
        fs::write(self.around.service_account.join("ca.crt"), "").unwrap();
        self
    }

    fn with_environment(mut self, host: &str) -> Self {
        self.around.host = Some(host.into());
        self.around.port = Some("6443".into());
        self
    }

    fn with_kubeconfig(self, cluster: &str) -> Self {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: \
             a}}}}], users: [{{name: a, user: {{token: secret}}}}], clusters: [{{name: a, cluster: {{{cluster}}}}}]}}"
        );
        fs::write(&self.around.kubeconfigs[0], text).unwrap();
        self
    }

    async fn find(&self, server: Option<&str>) -> Result<Found, String> {
        let address = ApiAddress { server: server.map(str::to_owned), kubeconfig: None };
        let found = find(&address, &self.around).await;
        found.map_err(|error| error.to_string().replace(self.folder.path().to_str().unwrap(), "/place"))
    }
}

#[tokio::test]
async fn the_environment_says_where_and_the_service_account_who() {
    let found = Place::empty().with_service_account().with_environment("fd00::1").find(None).await.unwrap();
    assert_eq!(found.config.cluster_url, "https://[fd00::1]:6443/");
    assert!(found.config.auth_info.token_file.unwrap().ends_with("account/token"));
    assert!(found.config.root_cert_file.unwrap().ends_with("account/ca.crt"));
    assert!(!found.credentials.contains("secret"));
}

#[tokio::test]
async fn an_explicit_address_keeps_the_service_account() {
    for place in [Place::empty(), Place::empty().with_environment("10.96.0.1")] {
        let found = place.with_service_account().find(Some("https://192.0.2.7:6443")).await.unwrap();
        assert_eq!(found.config.cluster_url, "https://192.0.2.7:6443/");
        assert!(found.config.auth_info.token_file.is_some() && found.config.root_cert_file.is_some());
    }
}

#[tokio::test]
async fn an_explicit_address_keeps_the_kubeconfigs_credentials_but_not_its_name() {
    let place = Place::empty().with_kubeconfig("server: 'https://192.0.2.1', tls-server-name: kubernetes");
    let found = place.find(None).await.unwrap();
    assert_eq!(found.config.cluster_url, "https://192.0.2.1/");
    assert_eq!(found.config.tls_server_name.as_deref(), Some("kubernetes"));
    let found = place.find(Some("https://192.0.2.7:6443")).await.unwrap();
    assert_eq!(found.config.cluster_url, "https://192.0.2.7:6443/");
    assert_eq!(found.config.tls_server_name, None);
    assert!(found.config.auth_info.token.is_some());
}

#[tokio::test]
async fn a_named_kubeconfig_comes_before_the_service_account() {
    let place = Place::empty().with_service_account().with_environment("10.96.0.1");
    let place = place.with_kubeconfig("server: 'https://192.0.2.1'");
    let address = ApiAddress { server: None, kubeconfig: Some(place.around.kubeconfigs[0].clone()) };
    let found = find(&address, &place.around).await.unwrap();
    assert_eq!(found.config.cluster_url, "https://192.0.2.1/");
    let found = place.find(None).await.unwrap();
    assert_eq!(found.config.cluster_url, "https://10.96.0.1:6443/");
}

#[tokio::test]
async fn no_credentials_without_tls() {
    let found = Place::empty().with_service_account().find(Some("http://192.0.2.7:8080")).await.unwrap();
    assert!(found.config.auth_info.token_file.is_none());
    assert_eq!(found.credentials, "no credentials (none are sent without TLS)");
}

#[tokio::test]
async fn errors_say_what_to_give() {
    let unknown = Place::empty().find(None).await.unwrap_err();
    assert_eq!(
        unknown,
        "no API server is known: this is no Pod (KUBERNETES_SERVICE_HOST is not set), and none of /place/config, \
         $KUBECONFIG is there; give --apiserver or --kubeconfig"
    );
    let address = Place::empty().find(Some("192.0.2.7:6443")).await.unwrap_err();
    assert_eq!(
        address,
        "the API server's address \"192.0.2.7:6443\" cannot be used: it has neither https:// nor http://; it looks \
         like https://10.0.0.1:6443"
    );
    let insecure = Place::empty().with_kubeconfig("server: 'https://192.0.2.1', insecure-skip-tls-verify: true");
    assert_eq!(
        insecure.find(None).await.unwrap_err(),
        "cannot use the kubeconfig /place/config: it has insecure-skip-tls-verify, but certificates are always \
         verified here; give it the CA"
    );
    let missing = ApiAddress { server: None, kubeconfig: Some("/nowhere".into()) };
    let missing = connect(&missing).await.unwrap_err().to_string();
    assert!(missing.starts_with("cannot use the kubeconfig /nowhere: failed to read"), "{missing}");
}

#[tokio::test]
async fn unreadable_credentials_are_named_but_not_told() {
    let place = Place::empty().with_service_account().with_environment("10.96.0.1");
    let mut found = place.find(None).await.unwrap();
    found.config.auth_info.token_file = Some("/nowhere/token".into());
    found.config.root_cert_file = None;
    let Err(error) = client(&found.config) else { panic!("a token that cannot be read") };
    assert!(chain(&error).contains("/nowhere/token"), "{}", chain(&error));
}
