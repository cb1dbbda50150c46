use std::{fmt::Debug, fs::File, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use kube::{
    Api, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use nix::sched::{CloneFlags, setns};
use portolan::lab::Namespace;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many requests are under way at once where there are many.
const CONCURRENT: usize = 32;

/// Somebody who speaks to the API server from inside a network namespace, in JSON.
#[derive(Clone)]
pub struct Client {
    /// Its only worker lives in the namespace, and the sockets it opens with it
    runtime: Arc<Runtime>,
    client: kube::Client,
}

impl Client {
    /// A client with this kubeconfig, in this namespace.
    pub fn new(kubeconfig: &Path, namespace: &Namespace) -> Self {
        let file = File::open(namespace.path()).unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || setns(&file, CloneFlags::CLONE_NEWNET).unwrap())
            .build()
            .unwrap();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            config.connect_timeout = Some(PATIENCE);
            // It would also end a connection that rests, and fail the request that comes at that moment.
            config.read_timeout = None;
            kube::Client::try_from(config).unwrap()
        });
        Self { runtime: Arc::new(runtime), client }
    }

    /// Runs a future where requests must be made: on the worker.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(self.runtime.spawn(work)).unwrap()
    }

    /// The same for one request; `None` if it is not answered in time.
    fn try_ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>> + Send + 'static,
    ) -> Option<Result<T, kube::Error>> {
        self.run(async move { tokio::time::timeout(PATIENCE, request).await }).ok()
    }

    /// The same for one request that must be answered in time.
    #[track_caller]
    fn ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>> + Send + 'static,
    ) -> Result<T, kube::Error> {
        self.try_ask(request).unwrap_or_else(|| panic!("no answer from the API server within {PATIENCE:?}"))
    }

    /// Whether the server says that it is ready.
    pub fn is_ready(&self) -> bool {
        let client = self.client.clone();
        let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
        let answer = self.try_ask(async move { client.request_text(request).await });
        answer.is_some_and(|answer| answer.is_ok_and(|text| text == "ok"))
    }

    /// Creates the object; what became of it.
    pub fn create(&self, object: &Value) -> Result<Value, kube::Error> {
        let (api, object) = (self.api_of(object), typed(object));
        self.ask(async move { api.create(&PostParams::default(), &object).await }).map(untyped)
    }

    /// A token of a ServiceAccount, for an hour: what the kubelet mounts into pods.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        let api = self.api_of(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace},
        }));
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600},
        });
        let name = account.to_owned();
        let answer: Result<Value, _> =
            self.ask(async move { api.create_subresource("token", &name, &PostParams::default(), &request).await });
        let answer = answer.unwrap_or_else(|error| panic!("a token for {namespace}/{account}: {error}"));
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Has the server go through [`Client::apply`], up to the point of keeping anything.
    pub fn try_out(&self, object: &Value) -> Result<Value, kube::Error> {
        let (api, name, patch) = (self.api_of(object), name(object), Patch::Apply(object.clone()));
        let params = PatchParams { dry_run: true, ..PatchParams::apply("portolan-tests").force() };
        self.ask(async move { api.patch(&name, &params, &patch).await }).map(untyped)
    }

    /// Creates or changes the object, so that it has these fields and no others that were given so before: what
    /// `kubectl apply --server-side` does.
    #[track_caller]
    pub fn apply(&self, object: &Value) -> Value {
        let (api, name, patch) = (self.api_of(object), name(object), Patch::Apply(object.clone()));
        let params = PatchParams::apply("portolan-tests").force();
        expect(self.ask(async move { api.patch(&name, &params, &patch).await }), "apply", object)
    }

    /// Puts the object in the place of what is there, whatever its version. Not every kind can be written so; slices can.
    #[track_caller]
    pub fn replace(&self, object: &Value) {
        let (api, name, new) = (self.api_of(object), name(object), typed(object));
        expect(self.ask(async move { api.replace(&name, &PostParams::default(), &new).await }), "replace", object);
    }

    /// Creates many objects at once. Panics if one cannot be created.
    pub fn create_all(&self, objects: &[Value]) {
        let requests = self.prepared(objects);
        self.run(stream::iter(requests).for_each_concurrent(CONCURRENT, |(api, object)| async move {
            api.create(&PostParams::default(), &object).await.unwrap();
        }));
    }

    /// Replaces one object after another, `rate` of them a second, or as fast as the server takes them. Panics if one
    /// cannot be replaced.
    pub fn replace_steadily(&self, objects: &[Value], rate: u32) {
        let requests = self.prepared(objects);
        self.run(async move {
            let ticks = stream::unfold(tokio::time::interval(Duration::from_secs(1) / rate), |mut ticker| async move {
                ticker.tick().await;
                Some(((), ticker))
            });
            let due = ticks.zip(stream::iter(requests));
            due.for_each_concurrent(CONCURRENT, |((), (api, object))| async move {
                let name = object.metadata.name.clone().unwrap_or_default();
                api.replace(&name, &PostParams::default(), &object).await.unwrap();
            })
            .await;
        });
    }

    fn prepared(&self, objects: &[Value]) -> Vec<(Api<DynamicObject>, DynamicObject)> {
        objects.iter().map(|object| (self.api_of(object), typed(object))).collect()
    }

    /// Changes some fields (a JSON merge patch).
    #[track_caller]
    pub fn patch(&self, object: &Value) -> Value {
        let (api, name, patch) = (self.api_of(object), name(object), Patch::Merge(object.clone()));
        expect(self.ask(async move { api.patch(&name, &PatchParams::default(), &patch).await }), "patch", object)
    }

    /// Changes some fields of the status.
    #[track_caller]
    pub fn patch_status(&self, object: &Value) -> Value {
        let (api, name, patch) = (self.api_of(object), name(object), Patch::Merge(object.clone()));
        let patched = self.ask(async move { api.patch_status(&name, &PatchParams::default(), &patch).await });
        expect(patched, "patch the status of", object)
    }

    /// Deletes the object with this kind, namespace and name.
    #[track_caller]
    pub fn delete(&self, object: &Value) {
        let (api, name) = (self.api_of(object), name(object));
        self.ask(async move { api.delete(&name, &DeleteParams::default()).await }).unwrap();
    }

    /// The object with this kind, namespace and name.
    pub fn get(&self, object: &Value) -> Result<Value, kube::Error> {
        let (api, name) = (self.api_of(object), name(object));
        self.ask(async move { api.get(&name).await }).map(untyped)
    }

    /// All objects of a kind, in all namespaces.
    pub fn list(&self, api_version: &str, kind: &str) -> Result<Vec<Value>, kube::Error> {
        let api = self.api_of(&json!({"apiVersion": api_version, "kind": kind}));
        let list = self.ask(async move { api.list(&ListParams::default()).await })?;
        Ok(list.items.into_iter().map(untyped).collect())
    }

    fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no kind or version: {object}")).to_owned();
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// The object as kube takes it.
fn typed(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn untyped(object: DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_else(|| panic!("no name: {object}")).to_owned()
}

#[track_caller]
fn expect(result: Result<DynamicObject, impl Debug>, verb: &str, object: &Value) -> Value {
    untyped(result.unwrap_or_else(|error| panic!("{verb} {object}: {error:?}")))
}
