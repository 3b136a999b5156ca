CREATE TABLE "attempts" (
	"assignment_id" uuid PRIMARY KEY NOT NULL,
	"run_id" uuid NOT NULL,
	"step_name" text NOT NULL,
	"number" integer NOT NULL,
	"worker_id" uuid NOT NULL,
	"worker_name" text NOT NULL,
	"labels_revision" bigint NOT NULL,
	"assign_time" timestamp (6) with time zone NOT NULL,
	"accept_time" timestamp (6) with time zone,
	"end_time" timestamp (6) with time zone NOT NULL,
	"outcome" text NOT NULL,
	"failure" text
);
--> statement-breakpoint
CREATE TABLE "holder" (
	"id" smallint PRIMARY KEY NOT NULL,
	"epoch" bigint NOT NULL,
	"batch" bigint NOT NULL,
	"name" text NOT NULL,
	"acquire_time" timestamp (6) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "namespaces" (
	"name" text PRIMARY KEY NOT NULL,
	"match_mode" text NOT NULL,
	"retention_ms" bigint NOT NULL,
	"schedule_timeout_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"run_id" uuid PRIMARY KEY NOT NULL,
	"namespace" text NOT NULL,
	"workflow" text,
	"workflow_version" integer,
	"number" bigint,
	"action" text,
	"step_name" text,
	"definition" text NOT NULL,
	"runs_on" text NOT NULL,
	"metadata" text NOT NULL,
	"input" text NOT NULL,
	"request_id" text,
	"request_digest" text,
	"create_time" timestamp (6) with time zone NOT NULL,
	"revision" bigint NOT NULL,
	"priority" smallint NOT NULL,
	"state" text NOT NULL,
	"start_time" timestamp (6) with time zone,
	"cancel_reason" text,
	"step_state" text,
	"ready_sequence" bigint,
	"failures" integer,
	"losses" integer,
	"started" boolean,
	"assignment_id" uuid,
	"assignment_number" integer,
	"worker_id" uuid,
	"worker_name" text,
	"labels_revision" bigint,
	"assign_time" timestamp (6) with time zone,
	"accept_time" timestamp (6) with time zone,
	"ready_time" timestamp (6) with time zone,
	"schedule_deadline" timestamp (6) with time zone,
	"end_time" timestamp (6) with time zone,
	"progress" text,
	"failure" text,
	"output" text
);
--> statement-breakpoint
CREATE TABLE "step_log_totals" (
	"assignment_id" uuid PRIMARY KEY NOT NULL,
	"run_id" uuid NOT NULL,
	"stored_bytes" bigint NOT NULL,
	"cut_bytes" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "step_logs" (
	"assignment_id" uuid NOT NULL,
	"line_number" bigint NOT NULL,
	"log_id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "step_logs_log_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"run_id" uuid NOT NULL,
	"step_name" text NOT NULL,
	"attempt" integer NOT NULL,
	"line_time" timestamp (6) with time zone NOT NULL,
	"level" smallint NOT NULL,
	"text" text NOT NULL,
	CONSTRAINT "step_logs_assignment_id_line_number_pk" PRIMARY KEY("assignment_id","line_number")
);
--> statement-breakpoint
CREATE TABLE "steps" (
	"run_id" uuid NOT NULL,
	"step_id" uuid NOT NULL,
	"name" text NOT NULL,
	"action" text NOT NULL,
	"generation" integer NOT NULL,
	"input" text,
	"step_state" text,
	"ready_sequence" bigint,
	"failures" integer,
	"losses" integer,
	"started" boolean,
	"assignment_id" uuid,
	"assignment_number" integer,
	"worker_id" uuid,
	"worker_name" text,
	"labels_revision" bigint,
	"assign_time" timestamp (6) with time zone,
	"accept_time" timestamp (6) with time zone,
	"ready_time" timestamp (6) with time zone,
	"schedule_deadline" timestamp (6) with time zone,
	"end_time" timestamp (6) with time zone,
	"progress" text,
	"failure" text,
	"output" text,
	CONSTRAINT "steps_run_id_name_pk" PRIMARY KEY("run_id","name")
);
--> statement-breakpoint
CREATE TABLE "workers" (
	"worker_id" uuid PRIMARY KEY NOT NULL,
	"worker_number" bigint NOT NULL,
	"namespace" text NOT NULL,
	"name" text NOT NULL,
	"display_name" text NOT NULL,
	"nickname" text NOT NULL,
	"default_worker" boolean NOT NULL,
	"tags" text NOT NULL,
	"labels" text NOT NULL,
	"labels_revision" bigint NOT NULL,
	"actions" text NOT NULL,
	"slots" integer NOT NULL,
	"devices" text,
	"sdk" text,
	"draining" boolean NOT NULL,
	"crashed" boolean NOT NULL,
	"session_hash" text,
	"completed_count" bigint NOT NULL,
	"register_time" timestamp (6) with time zone NOT NULL,
	"connect_time" timestamp (6) with time zone,
	"last_seen_time" timestamp (6) with time zone
);
--> statement-breakpoint
CREATE TABLE "workflows" (
	"namespace" text NOT NULL,
	"name" text NOT NULL,
	"version" integer NOT NULL,
	"definition" text NOT NULL,
	"create_time" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "workflows_namespace_name_version_pk" PRIMARY KEY("namespace","name","version")
);
--> statement-breakpoint
CREATE INDEX "attempts_by_run" ON "attempts" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "runs_by_namespace" ON "runs" USING btree ("namespace","run_id");--> statement-breakpoint
CREATE INDEX "runs_live" ON "runs" USING btree ("namespace","run_id") WHERE end_time IS NULL;--> statement-breakpoint
CREATE INDEX "runs_by_request" ON "runs" USING btree ("namespace","request_id") WHERE request_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX "step_log_totals_by_run" ON "step_log_totals" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "step_logs_by_run" ON "step_logs" USING btree ("run_id","log_id");