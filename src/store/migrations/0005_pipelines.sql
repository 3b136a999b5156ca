CREATE TABLE "leaderboard" (
	"namespace" text NOT NULL,
	"nickname" text NOT NULL,
	"completed_count" bigint NOT NULL,
	CONSTRAINT "leaderboard_namespace_nickname_pk" PRIMARY KEY("namespace","nickname")
);
--> statement-breakpoint
CREATE TABLE "run_totals" (
	"namespace" text NOT NULL,
	"workflow" text NOT NULL,
	"ended" bigint NOT NULL,
	CONSTRAINT "run_totals_namespace_workflow_pk" PRIMARY KEY("namespace","workflow")
);
--> statement-breakpoint
CREATE TABLE "step_outputs" (
	"run_id" uuid NOT NULL,
	"step_name" text NOT NULL,
	"generation" integer NOT NULL,
	"output" text NOT NULL,
	CONSTRAINT "step_outputs_run_id_step_name_generation_pk" PRIMARY KEY("run_id","step_name","generation")
);
--> statement-breakpoint
CREATE TABLE "step_totals" (
	"namespace" text NOT NULL,
	"workflow" text NOT NULL,
	"action" text NOT NULL,
	"succeeded" bigint NOT NULL,
	"failed" bigint NOT NULL,
	CONSTRAINT "step_totals_namespace_workflow_action_pk" PRIMARY KEY("namespace","workflow","action")
);
--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "step_backs" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "invalid_input" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "invalid_input" text;--> statement-breakpoint
-- Rewritten with nearly every commit: room on each page lets that stay there (HOT).
ALTER TABLE "leaderboard" SET (fillfactor = 50);--> statement-breakpoint
ALTER TABLE "run_totals" SET (fillfactor = 50);--> statement-breakpoint
ALTER TABLE "step_totals" SET (fillfactor = 50);--> statement-breakpoint
-- What was done before anybody counted it.
INSERT INTO "leaderboard" ("namespace", "nickname", "completed_count")
SELECT namespace, nickname, sum(completed_count) FROM workers GROUP BY namespace, nickname HAVING sum(completed_count) > 0;--> statement-breakpoint
INSERT INTO "run_totals" ("namespace", "workflow", "ended")
SELECT namespace, coalesce(workflow, ''), count(*) FROM runs WHERE end_time IS NOT NULL GROUP BY 1, 2;--> statement-breakpoint
INSERT INTO "step_totals" ("namespace", "workflow", "action", "succeeded", "failed")
SELECT namespace, workflow, action, count(*) FILTER (WHERE step_state = 'SUCCEEDED'), count(*) FILTER (WHERE step_state <> 'SUCCEEDED')
FROM (
  SELECT namespace, coalesce(workflow, '') AS workflow, action, step_state FROM runs WHERE action IS NOT NULL
  UNION ALL
  SELECT runs.namespace, coalesce(runs.workflow, ''), steps.action, steps.step_state FROM steps JOIN runs USING (run_id)
) AS ended
WHERE step_state IN ('SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED', 'SKIPPED') GROUP BY 1, 2, 3;
