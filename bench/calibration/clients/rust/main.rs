//! A node agent's cache and nothing else: one reflector of kube-rs on everything of one kind.
//!
//! Usage: client RESOURCE SELECTOR, with KUBECONFIG. Says "synced N" once its cache is full.

use std::{env, fmt::Debug};

use futures::StreamExt;
use k8s_openapi::api::{core::v1::Namespace, networking::v1::NetworkPolicy};
use kube::{
    runtime::{reflector, watcher, WatchStreamExt},
    Api, Client, Resource,
};
use serde::de::DeserializeOwned;

async fn follow<K>(client: Client, selector: &str)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let config = watcher::Config::default().labels(selector);
    let stream = reflector(writer, watcher(Api::<K>::all(client), config).default_backoff());
    let told = tokio::spawn(async move {
        store.wait_until_ready().await.expect("the reflector ended");
        println!("synced {}", store.state().len());
        store // kept: it is what is measured
    });
    stream.for_each(|_| async {}).await;
    let _ = told.await;
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().collect();
    let client = Client::try_default().await.expect("no client");
    match arguments[1].as_str() {
        "namespaces" => follow::<Namespace>(client, &arguments[2]).await,
        "networkpolicies" => follow::<NetworkPolicy>(client, &arguments[2]).await,
        other => panic!("unknown resource {other}"),
    }
}
