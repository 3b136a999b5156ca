CREATE TABLE "results" (
	"namespace" text NOT NULL,
	"content_hash" text NOT NULL,
	"target" text NOT NULL,
	"version" integer NOT NULL,
	"run_id" uuid NOT NULL,
	CONSTRAINT "results_namespace_content_hash_target_version_pk" PRIMARY KEY("namespace","content_hash","target","version")
);
--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "content_hash" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "executed_by_run_id" uuid;--> statement-breakpoint
CREATE INDEX "results_by_run" ON "results" USING btree ("run_id");--> statement-breakpoint
CREATE INDEX "runs_by_executor" ON "runs" USING btree ("executed_by_run_id") WHERE executed_by_run_id IS NOT NULL;