//! Several processes on one database: links are shared out without a leader, and each effect happens once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{Client, Server, Setup, World, text};

/// Set by `./dev replicas`.
const ROUNDS_SETTING: &str = "LINKBROKER_REPLICA_ROUNDS";
/// Links of one repository: they share its webhook.
const SHARING: usize = 10;

/// Three replicas, without limits that have nothing to do with them.
struct Replicas {
    world: World,
    _others: [Server; 2],
    clients: [Client; 3],
}

impl Replicas {
    async fn start() -> Self {
        let plenty = [
            "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
            "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
            "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
        ];
        let mut settings = plenty.map(|name| (name, "1000000".to_owned())).to_vec();
        // Two hundred answers of one sandbox on these cores are not lost because they are late.
        settings.push(("LINKBROKER_CALL_TIMEOUT_SECONDS", "120".to_owned()));
        let limits = json!({"calls_per_hour": 1_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000});
        let world = World::empty(Setup {
            settings,
            switches: json!({
                "netlify": {"key_stock": 24, "rate_limit_per_minute": 1_000_000, "concurrent_builds": 6},
                "github": {"limits": limits},
            }),
            ..Setup::default()
        })
        .await;
        world.connect(&world.client).await;
        let others = [world.replica().await, world.replica().await];
        let client = |server: &Server| {
            world
                .client
                .with_token(&server.address, world.client.token())
                .of_many()
        };
        let clients = [&world.server, &others[0], &others[1]].map(client);
        Self {
            world,
            _others: others,
            clients,
        }
    }

    /// So many links, asked of the replicas in turn, live and taken back; `round` makes their names new.
    async fn round(&self, round: usize, links: usize) {
        let repositories = links.div_ceil(SHARING);
        for number in 0..repositories {
            self.world
                .repository(&format!("round-{round}-{number}"))
                .await;
        }
        let before = Counts::of(&self.world);
        let ask = |number: usize| async move {
            let client = &self.clients[number % self.clients.len()];
            let repository = number % repositories;
            let request = json!({
                "repository": format!("https://github.com/acme/round-{round}-{repository}"),
                "site": {"name": format!("round-{round}-site-{number}"), "team": "sandbox"},
                "build": {"command": "sh build.sh", "publish": "dist"},
            });
            client.link(request).await
        };
        let ids = join_all((0..links).map(ask)).await;
        self.settle(&ids, "live").await;
        self.assert_one_first_build_each(round, links);
        let made = [links, links, repositories, links];
        assert_eq!(
            Counts::of(&self.world).since(&before),
            made.map(|it| (it, it))
        );

        let unlink = |(number, id): (usize, &String)| {
            let client = &self.clients[number % self.clients.len()];
            let path = format!("/links/{id}");
            async move { client.delete(&path).await.expect(202) }
        };
        join_all(ids.iter().enumerate().map(unlink)).await;
        self.settle(&ids, "unlinked").await;
        assert_eq!(
            Counts::of(&self.world).since(&before),
            made.map(|it| (it, 0))
        );
    }

    async fn settle(&self, ids: &[String], status: &str) {
        for id in ids {
            let link = self.world.client.settled_at_last(id).await;
            assert_eq!(link["status"], status, "{link:#}");
        }
    }

    fn assert_one_first_build_each(&self, round: usize, links: usize) {
        let state = self.world.state();
        let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
        let prefix = format!("round-{round}-site-");
        let first = deploys.iter().filter(|deploy: &&Value| {
            deploy["deploy_source"] == "api" && text(&deploy["name"]).starts_with(&prefix)
        });
        let sites: Vec<_> = first.map(|deploy| text(&deploy["name"])).collect();
        assert_eq!(sites.len(), links, "one first build for each link");
        let distinct: BTreeSet<_> = sites.into_iter().collect();
        assert_eq!(distinct.len(), links);
    }
}

/// Made and there: deploy keys, installed keys, webhooks, sites.
struct Counts([(u64, u64); 4]);

impl Counts {
    fn of(world: &World) -> Self {
        Self(["deploy_keys", "installed_keys", "webhooks", "sites"].map(|kind| world.count(kind)))
    }

    fn since(&self, before: &Self) -> [(usize, usize); 4] {
        let added = |now: u64, before: u64| usize::try_from(now - before).expect("a few");
        std::array::from_fn(|kind| {
            let (now, before) = (self.0[kind], before.0[kind]);
            (added(now.0, before.0), added(now.1, before.1))
        })
    }
}

#[tokio::test]
async fn three_replicas_make_exactly_one_of_everything_for_each_link() {
    Replicas::start().await.round(0, 15).await;
}

#[tokio::test]
#[ignore = "takes minutes: ./dev replicas"]
async fn many_rounds() {
    let rounds = std::env::var(ROUNDS_SETTING).expect("./dev replicas sets it");
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let replicas = Replicas::start().await;
    for round in 0..rounds {
        replicas.round(round, 200).await;
        eprintln!(
            "round {} of {rounds}: 200 links, one of everything, nothing left",
            round + 1
        );
    }
}
