// The other side: admin register|schedule|watch|explain|cancel|workers …
//
// Exit code 0: it worked; 1: the run that was watched did not succeed; 2: the server said no, or the command was wrong.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	pb "example.com/yardmaster/gen/yardmaster/v1"
)

const usage = `usage: admin COMMAND …
  register [-tag T]… NAME          a worker before it connects; its tags are fixed then
  schedule [-input JSON] [-runs-on T]… [-label 'memory>256']… [-attempts N] [-request-id ID] ACTION
                                   submits a run and prints its id
  watch RUN_ID                     follows a run until it ends
  explain RUN_ID                   says why a run waits
  cancel [-reason TEXT] RUN_ID     ends a run
  workers                          lists all workers`

// A lost answer leaves the caller in doubt: no call waits longer. A watch lasts as long as its run.
const callMax = 10 * time.Second

var errNotSucceeded = errors.New("the run did not succeed")

type admin struct {
	yard pb.AdminServiceClient
	args []string
}

func main() {
	err := run()
	switch {
	case err == nil:
	case errors.Is(err, errNotSucceeded):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New(usage)
	}
	address := os.Getenv("YARDMASTER_ADDRESS")
	if address == "" {
		address = "localhost:7070"
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	a := &admin{pb.NewAdminServiceClient(conn), os.Args[2:]}
	if os.Args[1] == "watch" {
		return a.watch(outgoing(context.Background()))
	}
	commands := map[string]func(context.Context) error{
		"register": a.register, "schedule": a.schedule, "explain": a.explain, "cancel": a.cancel, "workers": a.workers,
	}
	command := commands[os.Args[1]]
	if command == nil {
		return errors.New(usage)
	}
	ctx, cancel := context.WithTimeout(outgoing(context.Background()), callMax)
	defer cancel()
	return command(ctx)
}

// outgoing puts the token and the namespace on every call.
func outgoing(ctx context.Context) context.Context {
	if token := os.Getenv("YARDMASTER_TOKEN"); token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	if namespace := os.Getenv("YARDMASTER_NAMESPACE"); namespace != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "yardmaster-namespace", namespace)
	}
	return ctx
}

func (a *admin) register(ctx context.Context) error {
	flags := flag.NewFlagSet("register", flag.ExitOnError)
	request := &pb.RegisterWorkerRequest{}
	flags.Func("tag", "a tag", appendTo(&request.Tags))
	var err error
	if request.Name, err = a.argument(flags); err != nil {
		return err
	}
	answer, err := a.yard.RegisterWorker(ctx, request)
	if err != nil {
		return err
	}
	known := "registered"
	if answer.AlreadyRegistered {
		known = "already registered"
	}
	fmt.Println(known, answer.Worker.Name, answer.Worker.WorkerId, "tags", orDash(answer.Worker.Tags))
	warn(answer.Warnings)
	return nil
}

func (a *admin) schedule(ctx context.Context) error {
	flags := flag.NewFlagSet("schedule", flag.ExitOnError)
	request := &pb.ScheduleRunRequest{}
	// As text it arrives byte for byte; Input would take it as a structpb.Value.
	request.InputJson = flags.String("input", "null", "JSON")
	flags.Func("runs-on", "a tag the worker must have", appendTo(&request.RunsOn))
	flags.Func("label", "such as memory>256", func(text string) error {
		desired, err := condition(text)
		request.DesiredLabels = append(request.DesiredLabels, desired)
		return err
	})
	attempts := flags.Uint("attempts", 1, "attempts in all")
	// With one of your own a call may be repeated after UNAVAILABLE, without making a second run.
	flags.StringVar(&request.RequestId, "request-id", "", "chosen by you")
	action, err := a.argument(flags)
	if err != nil {
		return err
	}
	attemptsMax := uint32(*attempts)
	step := &pb.StepDefinition{Action: action, Retry: &pb.Retry{MaxAttempts: &attemptsMax}}
	request.What = &pb.ScheduleRunRequest_Step{Step: step}
	answer, err := a.yard.ScheduleRun(ctx, request)
	if err != nil {
		return err
	}
	fmt.Println(answer.Run.RunId)
	warn(answer.Warnings)
	return nil
}

func (a *admin) watch(ctx context.Context) error {
	runID, err := a.argument(flag.NewFlagSet("watch", flag.ExitOnError))
	if err != nil {
		return err
	}
	// First the state as it is, then each change; the stream ends after the run's end.
	events, err := a.yard.WatchRun(ctx, &pb.WatchRunRequest{RunId: runID})
	if err != nil {
		return err
	}
	var run *pb.Run
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if event.GetChanged() != nil {
			run = event.GetChanged()
			fmt.Println(short(run.State, "RUN_STATE_"), describe(run.Steps))
		}
	}
	if run.GetState() == pb.RunState_RUN_STATE_SUCCEEDED {
		fmt.Println("output", run.OutputJson)
		return nil
	}
	fmt.Printf("error %s %s: %s\n", run.GetError().GetReason(), run.GetError().GetType(), run.GetError().GetMessage())
	return errNotSucceeded
}

func describe(steps []*pb.Step) string {
	var shown []string
	for _, step := range steps {
		words := []string{step.Name + ":", short(step.State, "STEP_STATE_")}
		if attempts := step.Attempts; len(attempts) > 0 {
			words = append(words, "on", attempts[len(attempts)-1].WorkerName)
		}
		if step.ProgressFraction != nil {
			words = append(words, fmt.Sprintf("%.0f%%", 100**step.ProgressFraction), step.ProgressText)
		}
		shown = append(shown, "["+strings.TrimSpace(strings.Join(words, " "))+"]")
	}
	return strings.Join(shown, " ")
}

func (a *admin) explain(ctx context.Context) error {
	runID, err := a.argument(flag.NewFlagSet("explain", flag.ExitOnError))
	if err != nil {
		return err
	}
	answer, err := a.yard.ExplainRun(ctx, &pb.ExplainRunRequest{RunId: runID})
	if err != nil {
		return err
	}
	for _, step := range answer.Steps {
		fmt.Printf("%s: %s: %s\n", step.StepName, short(step.Explanation.Verdict, "VERDICT_"), step.Explanation.Summary)
		for _, worker := range step.Explanation.Workers {
			why := "may take it"
			if len(worker.Failed) > 0 {
				why = failures(worker.Failed)
			}
			fmt.Printf("  %s: %s\n", worker.WorkerName, why)
		}
	}
	return nil
}

func failures(failed []*pb.FailedClause) string {
	var shown []string
	for _, each := range failed {
		shown = append(shown, fmt.Sprintf("%s %s: has %s, needs %s", each.Clause, each.Key, each.Has, each.Needs))
	}
	return strings.Join(shown, "; ")
}

func (a *admin) cancel(ctx context.Context) error {
	flags := flag.NewFlagSet("cancel", flag.ExitOnError)
	reason := flags.String("reason", "", "for a person")
	runID, err := a.argument(flags)
	if err != nil {
		return err
	}
	answer, err := a.yard.CancelRun(ctx, &pb.CancelRunRequest{RunId: runID, Reason: *reason})
	if err != nil {
		return err
	}
	fmt.Println(short(answer.Run.State, "RUN_STATE_"))
	return nil
}

func (a *admin) workers(ctx context.Context) error {
	for request := (&pb.ListWorkersRequest{}); ; {
		page, err := a.yard.ListWorkers(ctx, request)
		if err != nil {
			return err
		}
		for _, worker := range page.Workers {
			labels, err := json.Marshal(worker.Labels.AsMap())
			if err != nil {
				return err
			}
			state := short(worker.State, "WORKER_STATE_")
			fmt.Printf("%s %s slots %d/%d tags %s labels %s\n",
				worker.Name, state, worker.SlotsUsed, worker.Slots, orDash(worker.Tags), labels)
		}
		if page.NextPageToken == "" {
			return nil
		}
		request.PageToken = page.NextPageToken
	}
}

// argument is the one argument behind the flags.
func (a *admin) argument(flags *flag.FlagSet) (string, error) {
	if err := flags.Parse(a.args); err != nil {
		return "", err
	}
	if flags.NArg() != 1 {
		return "", errors.New(usage)
	}
	return flags.Arg(0), nil
}

var conditionPattern = regexp.MustCompile(`^([^=!<>]+)(!=|>=|<=|=|>|<)(.+)$`)

var comparators = map[string]pb.Comparator{
	"=":  pb.Comparator_COMPARATOR_EQUAL,
	"!=": pb.Comparator_COMPARATOR_NOT_EQUAL,
	">":  pb.Comparator_COMPARATOR_GREATER_THAN,
	">=": pb.Comparator_COMPARATOR_GREATER_THAN_OR_EQUAL,
	"<":  pb.Comparator_COMPARATOR_LESS_THAN,
	"<=": pb.Comparator_COMPARATOR_LESS_THAN_OR_EQUAL,
}

// condition reads `memory>256` or `model=llama`: a number is compared as a number.
func condition(text string) (*pb.DesiredLabel, error) {
	match := conditionPattern.FindStringSubmatch(text)
	if match == nil {
		return nil, errors.New("not KEY, one of = != > >= < <=, and VALUE")
	}
	desired := &pb.DesiredLabel{Key: match[1], Comparator: comparators[match[2]], Value: structpb.NewStringValue(match[3])}
	if number, err := strconv.ParseFloat(match[3], 64); err == nil {
		desired.Value = structpb.NewNumberValue(number)
	}
	return desired, nil
}

// short makes PENDING of RUN_STATE_PENDING.
func short(value fmt.Stringer, prefix string) string {
	return strings.TrimPrefix(value.String(), prefix)
}

func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}

func orDash(tags []string) string {
	if len(tags) == 0 {
		return "-"
	}
	return strings.Join(tags, ",")
}

func warn(warnings []*pb.Warning) {
	for _, warning := range warnings {
		fmt.Fprintf(os.Stderr, "warning %s: %s\n", warning.Reason, warning.Message)
	}
}
