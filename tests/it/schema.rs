//! The database explains itself, and keeps tenants apart.

use sqlx::Row;

use crate::world::Database;

#[tokio::test]
async fn every_table_and_column_has_a_comment() {
    let silent = "select c.relname || coalesce('.' || a.attname, '') as place
        from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> '_sqlx_migrations'
          and (obj_description(c.oid) is null or col_description(c.oid, a.attnum) is null)";
    assert_eq!(places(silent).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_table_with_a_tenant_is_behind_row_level_security() {
    let open = "select c.relname as place
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant'
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
          and not (c.relrowsecurity and c.relforcerowsecurity
                   and exists (select from pg_policy p where p.polrelid = c.oid))";
    assert_eq!(places(open).await, Vec::<String>::new());
    let tenantless = "select c.relname as place from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
          and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant')";
    let mut tenantless = places(tenantless).await;
    tenantless.sort();
    assert_eq!(
        tenantless,
        ["_sqlx_migrations", "budgets", "spent_writes", "workers"]
    );
}

/// The places that a query finds in a database with the whole schema.
async fn places(query: &'static str) -> Vec<String> {
    let database = Database::create().await;
    let migrated = linkbroker::store::migrate(&database.url).await;
    migrated.expect("the schema");
    let mut connection = database.connection().await;
    let rows = sqlx::query(query).fetch_all(&mut connection).await;
    let rows = rows.expect("the rows");
    rows.iter().map(|row| row.get("place")).collect()
}
