//! `openapi.yaml` is what the program says of itself. (That answers are as described is checked in each exchange of each test.)

use std::process::Command;

use crate::world::{OPENAPI, World};

#[test]
fn the_description_in_the_repository_is_the_programs_own() {
    let output = Command::new(env!("CARGO_BIN_EXE_linkbroker"))
        .arg("openapi")
        .output();
    let output = output.expect("the program");
    assert!(output.status.success());
    assert!(
        output.stdout == OPENAPI.as_bytes(),
        "openapi.yaml is not up to date; renew it with: cargo run --quiet -- openapi > openapi.yaml"
    );
}

#[tokio::test]
async fn the_server_hands_out_its_description() {
    let world = World::empty(Default::default()).await;
    let anybody = world.client.with_token(&world.server.address, None);
    let answer = anybody.get("/openapi.yaml").await.expect(200);
    assert_eq!(answer.text, OPENAPI);
}
