// An example worker: worker [-tag T]… [-label KEY=VALUE]… [-slots N] NAME
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/yardmaster/stream"
)

func greet(_ context.Context, step *stream.Step) (any, error) {
	var input struct{ Name string }
	if err := step.Input(&input); err != nil {
		return nil, err
	}
	step.Log("a greeting for %s", input.Name)
	step.Progress(0.5, "thinking")
	return map[string]any{"greeting": "hello " + input.Name, "attempt": step.Attempt}, nil
}

func fail(_ context.Context, step *stream.Step) (any, error) {
	if step.InputJson == `"for good"` {
		return nil, stream.Permanent(errors.New("no use in trying again"))
	}
	return nil, fmt.Errorf("cannot work on %s", step.InputJson)
}

// loadModel: what work changes about the worker, it says with labels; work that waits for them is matched at once.
func loadModel(_ context.Context, step *stream.Step) (any, error) {
	var model string
	if err := step.Input(&model); err != nil {
		return nil, err
	}
	return map[string]string{"loaded": model}, step.UpsertLabels(map[string]any{"model": model})
}

// work is long work in small parts: it looks for a cancel between them.
func work(ctx context.Context, step *stream.Step) (any, error) {
	var input struct{ Parts, Seconds float64 }
	if err := step.Input(&input); err != nil {
		return nil, err
	}
	for part := 1.0; part <= input.Parts; part++ {
		select {
		case <-ctx.Done():
			fmt.Printf("work: cancelled in part %v: %v\n", part, context.Cause(ctx))
			return nil, ctx.Err()
		case <-time.After(time.Duration(input.Seconds / input.Parts * float64(time.Second))):
		}
		step.Log("part %v of %v", part, input.Parts)
		step.Progress(part/input.Parts, fmt.Sprintf("part %v", part))
	}
	fmt.Println("work: finished")
	return map[string]float64{"parts": input.Parts}, nil
}

func main() {
	var tags []string
	flag.Func("tag", "a tag, fixed at registration; may be repeated", func(tag string) error {
		tags = append(tags, tag)
		return nil
	})
	var labels map[string]any
	flag.Func("label", "KEY=VALUE; memory=64 is a number, model=llama a string; may be repeated", func(text string) error {
		if labels == nil {
			labels = map[string]any{}
		}
		key, value, _ := strings.Cut(text, "=")
		labels[key] = value
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			labels[key] = number
		}
		return nil
	})
	slots := flag.Uint("slots", 1, "steps at the same time")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("give the worker's name, after the flags")
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	worker := &stream.Worker{
		Address:     orElse(os.Getenv("YARDMASTER_ADDRESS"), "localhost:7070"),
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
		Name:        flag.Arg(0),
		Tags:        tags,
		Labels:      labels,
		Slots:       uint32(*slots),
		Handlers:    map[string]stream.Handler{"greet": greet, "fail": fail, "load-model": loadModel, "work": work},
		Token:       os.Getenv("YARDMASTER_TOKEN"),
		Namespace:   os.Getenv("YARDMASTER_NAMESPACE"),
		StopTimeout: 30 * time.Second,
		Say:         func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	}
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func orElse(given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	return given
}
