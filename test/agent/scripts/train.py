"""What somebody's training script might look like: the standard library, and the files the agent names."""

import json
import os
import sys

task = json.load(sys.stdin)
with open(os.environ["YARDMASTER_INPUT_FILE"]) as file:
    assert json.load(file) == task

print("training", task["name"], "with", os.environ["YARDMASTER_ACTION"])
print("a warning", file=sys.stderr, flush=True)
epochs = task["epochs"]
for epoch in range(1, epochs + 1):
    with open(os.environ["YARDMASTER_PROGRESS"], "a") as progress:
        progress.write(f"{epoch / epochs} epoch {epoch}\n")
    print(f"epoch {epoch}", flush=True)
print("\rloss 0.9\rloss 0.5\rloss 0.1")
sys.stdout.write("no line break at the end")

names = ["RUN_ID", "STEP_NAME", "ATTEMPT", "ASSIGNMENT_ID", "WORKER_ID", "WORKER_NAME", "METADATA"]
with open(os.environ["YARDMASTER_OUTPUT"], "w") as output:
    # Spaces, the order of keys and a number that no double holds: all of it travels as it stands.
    output.write('{ "zeta": 12345678901234567890,  "environment": ')
    output.write(json.dumps({name: os.environ["YARDMASTER_" + name] for name in names}) + "}")
