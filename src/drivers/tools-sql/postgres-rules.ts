// What PostgreSQL can do that no tool here does, by name. What no list has is looked up where
// it is run (postgres-reach.ts); the read-only transaction and the rights of the role stand behind both.

/** Kinds of statement that are refused, with what to say. */
export const REFUSED_STATEMENTS: Readonly<Record<string, string>> = {
  CopyStmt: "COPY moves files and programs' output; use SELECT or INSERT",
  DoStmt: "a DO block is a program, and what it does cannot be known beforehand",
  CallStmt: "what a procedure does cannot be known beforehand",
  CreateFunctionStmt: "functions are programs; an operator creates them",
  CreateTrigStmt: "triggers are programs; an operator creates them",
  CreateEventTrigStmt: "triggers are programs; an operator creates them",
  GrantStmt: "rights are an operator's affair",
  GrantRoleStmt: "rights are an operator's affair",
  CreateRoleStmt: "roles are an operator's affair",
  AlterRoleStmt: "roles are an operator's affair",
  AlterRoleSetStmt: "roles are an operator's affair",
  DropRoleStmt: "roles are an operator's affair",
  AlterOwnerStmt: "rights are an operator's affair",
  TransactionStmt: "each call is a transaction of its own already",
  VariableSetStmt: "settings of the session are kept as they are",
  PrepareStmt: "give the statement itself, with params",
  ExecuteStmt: "give the statement itself, with params",
  DeallocateStmt: "give the statement itself, with params",
  DeclareCursorStmt: "give the query itself",
  FetchStmt: "give the query itself",
  ClosePortalStmt: "give the query itself",
  LockStmt: "it holds back others and changes nothing",
  ListenStmt: "nobody would hear it",
  UnlistenStmt: "nobody would hear it",
  NotifyStmt: "it tells others something that cannot be taken back",
  VacuumStmt: "upkeep is an operator's affair, and runs outside a transaction",
  ClusterStmt: "upkeep is an operator's affair",
  ReindexStmt: "upkeep is an operator's affair",
  CheckPointStmt: "upkeep is an operator's affair",
  DiscardStmt: "upkeep is an operator's affair",
  LoadStmt: "libraries are an operator's affair",
  AlterSystemStmt: "the server's settings are an operator's affair",
  CreateExtensionStmt: "extensions are an operator's affair",
  CreatedbStmt: "databases are an operator's affair",
  DropdbStmt: "databases are an operator's affair",
};

/** Functions that act beside the statement: on files, other servers, other sessions, the server, or by running text as SQL. */
const REFUSED_FUNCTIONS = new Set([
  "set_config",
  "setval",
  "pg_notify",
  "pg_stat_file",
  "pg_reload_conf",
  "pg_rotate_logfile",
  "pg_terminate_backend",
  "pg_cancel_backend",
  "pg_promote",
  "pg_export_snapshot",
  "pg_import_system_collations",
  "pg_switch_wal",
  "pg_create_restore_point",
  "pg_log_backend_memory_contexts",
  "pg_prewarm",
  "pg_log_standby_snapshot",
  "gin_clean_pending_list",
  "http",
  "ts_stat",
  "ts_rewrite",
  "query_to_xml",
  "query_to_xmlschema",
  "query_to_xml_and_xmlschema",
  "cursor_to_xml",
  "cursor_to_xmlschema",
  "connectby",
]);
const REFUSED_BEGINNINGS = [
  "pg_read_",
  "pg_ls_",
  "pg_file_",
  "pg_logdir_",
  "pg_stat_reset",
  "pg_stat_statements_reset",
  "pg_advisory_",
  "pg_try_advisory_",
  "pg_backup_",
  "pg_start_backup",
  "pg_stop_backup",
  "pg_wal_replay_",
  "pg_logical_",
  "pg_replication_",
  "pg_create_logical_",
  "pg_create_physical_",
  "pg_copy_logical_",
  "pg_copy_physical_",
  "pg_drop_replication_",
  "pg_sync_replication_",
  "lo_",
  "lowrite",
  "loread",
  "dblink",
  "crosstab",
  "normal_rand",
  "postgres_fdw_disconnect",
  "database_to_xml",
  "schema_to_xml",
  "table_to_xml",
  "pg_clear_",
  "pg_restore_",
  "pg_buffercache_evict",
  "pg_truncate_",
  "heap_force_",
  "brin_summarize_",
  "brin_desummarize_",
  "http_",
];

/** Schemas of extensions whose functions act beside the statement: on the network, in the cloud, at other times. */
const REFUSED_SCHEMAS = new Set(["aws_lambda", "aws_s3", "cron", "net", "pgagent"]);

/** Whether the function is one of those, whatever schema it is called by. */
export const isRefusedFunction = ({ schema, name }: { readonly schema: string; readonly name: string }): boolean =>
  REFUSED_SCHEMAS.has(schema) ||
  REFUSED_FUNCTIONS.has(name) ||
  REFUSED_BEGINNINGS.some((beginning) => name.startsWith(beginning));

/** What ALTER TABLE may do as a change: nothing that is there goes. */
export const ALTERATIONS_CHANGE = new Set([
  "AT_AddColumn",
  "AT_AddConstraint",
  "AT_ColumnDefault",
  "AT_SetNotNull",
  "AT_DropNotNull",
  "AT_ValidateConstraint",
  "AT_SetStatistics",
]);
/** What takes something away, or writes every row anew. */
export const ALTERATIONS_DESTROY = new Set([
  "AT_DropColumn",
  "AT_DropConstraint",
  "AT_AlterColumnType",
  "AT_DetachPartition",
]);

/** What DROP may name. Functions, roles, extensions and the like are an operator's. */
export const DROPS = new Set([
  "OBJECT_TABLE",
  "OBJECT_VIEW",
  "OBJECT_MATVIEW",
  "OBJECT_INDEX",
  "OBJECT_SEQUENCE",
  "OBJECT_SCHEMA",
  "OBJECT_TYPE",
  "OBJECT_TRIGGER",
]);

/** What may be given another name. Roles, databases, functions and the like are an operator's. */
export const RENAMES = new Set([
  "OBJECT_TABLE",
  "OBJECT_COLUMN",
  "OBJECT_VIEW",
  "OBJECT_MATVIEW",
  "OBJECT_INDEX",
  "OBJECT_SEQUENCE",
  "OBJECT_SCHEMA",
  "OBJECT_TYPE",
  "OBJECT_ATTRIBUTE",
  "OBJECT_TABCONSTRAINT",
]);

/** Statements that make or name something, and take nothing away. */
export const DEFINITIONS: Readonly<Record<string, string>> = {
  CreateStmt: "CREATE TABLE",
  CreateSeqStmt: "CREATE SEQUENCE",
  CreateEnumStmt: "CREATE TYPE",
  AlterEnumStmt: "ALTER TYPE",
  CommentStmt: "COMMENT",
};
