CREATE TABLE "workflow_names" (
	"namespace" text NOT NULL,
	"name" text NOT NULL,
	"latest_version" integer NOT NULL,
	"last_number" bigint NOT NULL,
	CONSTRAINT "workflow_names_namespace_name_pk" PRIMARY KEY("namespace","name")
);
--> statement-breakpoint
ALTER TABLE "steps" ALTER COLUMN "generation" SET DEFAULT 1;--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "why" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "sticky" text DEFAULT 'NONE' NOT NULL;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "concurrency" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "depends_on" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "pinned_worker_id" uuid;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "kept_pin_worker_id" uuid;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "blocked_on" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "attempt_base" integer;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "assigned_once" boolean;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "why" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "place" integer NOT NULL;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "end_sequence" bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "blocked_on" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "attempt_base" integer;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "assigned_once" boolean;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "cancel_reason" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "why" text;--> statement-breakpoint
ALTER TABLE "workflows" ADD COLUMN "source" text NOT NULL;--> statement-breakpoint
CREATE INDEX "runs_by_number" ON "runs" USING btree ("namespace","workflow","number") WHERE workflow IS NOT NULL;--> statement-breakpoint
ALTER TABLE "steps" DROP COLUMN "input";--> statement-breakpoint
-- Rewritten with every run of the workflow: room on each page lets that stay there (HOT).
ALTER TABLE "workflow_names" SET (fillfactor = 50);
