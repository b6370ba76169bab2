// What is known to stay inside the transaction that calls it, so that a rollback takes it back: of PostgreSQL's own functions
// those here and all that are not volatile, and the functions of these extensions. `postgres-rules.ts` names the exceptions.

const VOLATILE = new Set(
  `clock_timestamp current_query gen_random_uuid random random_normal setseed timeofday uuidv4 uuidv7
   nextval currval lastval bernoulli system pg_sleep pg_sleep_for pg_sleep_until
   pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size
   pg_blocking_pids pg_safe_snapshot_blocking_pids pg_lock_status pg_prepared_xact pg_notification_queue_usage
   pg_collation_actual_version pg_database_collation_actual_version pg_current_logfile pg_jit_available pg_sequence_last_value
   pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_last_wal_receive_lsn pg_last_wal_replay_lsn
   pg_is_in_recovery pg_is_wal_replay_paused pg_get_wal_replay_pause_state pg_get_wal_resource_managers
   pg_last_committed_xact pg_last_xact_replay_timestamp pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status
   txid_status pg_get_multixact_members pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
   pg_partition_ancestors pg_partition_tree pg_get_backend_memory_contexts pg_get_shmem_allocations
   pg_show_replication_origin_status pg_stat_have_stats pg_stat_clear_snapshot
   suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column unique_key_recheck`.split(
    /\s+/,
  ),
);
/** The checks behind foreign keys, and what is counted of this transaction. */
const VOLATILE_BEGINNINGS = ["RI_FKey_", "pg_stat_get_"];

export const isKnownVolatile = (name: string): boolean =>
  VOLATILE.has(name) || VOLATILE_BEGINNINGS.some((beginning) => name.startsWith(beginning));

const EXTENSIONS = new Set(
  `plpgsql autoinc bloom btree_gin btree_gist citext cube dict_int dict_xsyn earthdistance fuzzystrmatch hstore insert_username
   intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap pg_stat_statements pg_trgm
   pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple refint seg sslinfo tablefunc tsm_system_rows tsm_system_time unaccent
   uuid-ossp hll ip4r pg_bigm pg_uuidv7 postgis prefix rum semver vector`.split(/\s+/),
);

export const isKnownExtension = (name: string): boolean => EXTENSIONS.has(name);
