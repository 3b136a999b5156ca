ALTER TABLE "attempts" ADD COLUMN "device" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "device" text;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "device" text;