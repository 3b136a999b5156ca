// Package stream is a worker's side of yardmaster.v1.WorkerService/Connect, over as many streams as it takes.
//
// Copy this package. It knows nothing of your work: give a Worker a handler for each action and call Run.
//
// How it is built: whatever has to be told to the server is a fact. Facts go into one list, the outbox, and stay there
// until the server has acknowledged or refused them, so a broken stream loses nothing: the next one starts with all
// that is left. One goroutine writes what the outbox holds, one reads orders, and each step runs in one of its own.
// Everything shared is guarded by one mutex.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example.com/yardmaster/gen/yardmaster/v1"
)

const (
	reconnectFirst = 100 * time.Millisecond
	reconnectMax   = 10 * time.Second
	// A stream without a welcome after this long is given up; then Welcome.silence_timeout counts.
	welcomeMax = 10 * time.Second
	// After goodbye the server ends the stream, within a second.
	goodbyeMax = 3 * time.Second
	// Handlers that log faster than the server takes it wait when so many facts are unsettled: memory has an end.
	unsettledFactsMax = 1000
	messageBytesMax   = 8 << 20
)

// EvictedError says that the server ended this worker's session for good.
type EvictedError struct {
	Reason  pb.EvictionReason
	Message string
}

func (e *EvictedError) Error() string { return fmt.Sprintf("%v: %s", e.Reason, e.Message) }

// Handler does the work of one step. Its result is the step's output, as JSON. ctx ends when the step is not wanted
// any more; context.Cause says why.
type Handler func(ctx context.Context, step *Step) (any, error)

// Worker is one worker by name. Set the exported fields, then call Run, once.
type Worker struct {
	Address string
	// DialOptions hold at least the transport credentials.
	DialOptions []grpc.DialOption
	Name        string
	Tags        []string
	// Labels the worker starts with; nil leaves the stored ones. Values are strings or numbers.
	Labels   map[string]any
	Slots    uint32
	Handlers map[string]Handler
	// Token and Namespace may be empty.
	Token, Namespace string
	// StopTimeout is how long running handlers may go on after Run's context has ended.
	StopTimeout time.Duration
	// Say is told what happens to the stream, for a person; it may be nil.
	Say func(format string, args ...any)

	mu sync.Mutex
	// Closed and replaced whenever there may be something to write or nothing more to wait for.
	changed     chan struct{}
	labels      *structpb.Struct
	sessionID   string
	limits      *pb.Limits
	outbox      []*fact
	held        map[string]*Step // Every assignment whose end is not yet settled.
	running     uint32           // Handlers that have not ended, those of void assignments included.
	stopAt      time.Time        // Zero: not stopping.
	toldNoSlots bool
	evicted     *EvictedError
	reconnectAt time.Time
}

// connection is what belongs to one stream, and ends with it.
type connection struct {
	welcomed, saidGoodbye bool
	sequence              uint64
	silence, heartbeat    time.Duration
	heardAt, heartbeatAt  time.Time
	nextLineAt            time.Time
}

// Run serves until ctx ends: then it takes nothing new, lets what runs finish and says goodbye. An error means that
// the server refused hello, or ended the session, for good.
func (w *Worker) Run(ctx context.Context) error {
	w.changed = make(chan struct{})
	w.held = make(map[string]*Step)
	w.limits = &pb.Limits{}
	if w.Say == nil {
		w.Say = func(string, ...any) {}
	}
	if w.Labels != nil {
		var err error
		if w.labels, err = structpb.NewStruct(w.Labels); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, w.stop)()
	for failures := 0; !w.isOver(); {
		c := &connection{silence: welcomeMax, heardAt: time.Now()}
		err := w.serve(ctx, c)
		w.disconnected(c)
		switch {
		case w.evicted != nil:
			return w.evicted
		case c.saidGoodbye:
			return nil
		case !c.welcomed && isPermanent(err):
			return err
		case c.welcomed:
			failures = 0
		}
		w.Say("disconnected: %v", err)
		w.waitToReconnect(failures)
		failures++
	}
	return nil
}

// UpsertLabels merges into the worker's labels, nil removes one; waiting work is matched anew. It does not wait.
func (w *Worker) UpsertLabels(labels map[string]any) error {
	patch, err := structpb.NewStruct(labels)
	if err != nil {
		return err
	}
	message := &pb.ConnectRequest_UpsertLabels{UpsertLabels: &pb.UpsertLabels{Labels: patch}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(&fact{about: aboutLabels, request: &pb.ConnectRequest{Message: message}})
	return nil
}

func (w *Worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopAt = time.Now().Add(w.StopTimeout)
	w.notify()
	// Whoever waits must look again at that time, even if nothing else happens.
	time.AfterFunc(w.StopTimeout, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notify()
	})
}

// isPermanent tells whether a hello was refused for what it says, and would be refused again.
func isPermanent(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition,
		codes.Unimplemented, codes.Unauthenticated:
		return true
	}
	return false
}

// serve is one stream, from hello to its end.
func (w *Worker) serve(ctx context.Context, c *connection) error {
	// The stream outlives the wish to stop: what runs is still to be told.
	ctx, cancel := context.WithCancel(w.outgoing(context.WithoutCancel(ctx)))
	defer cancel()
	// A connection of its own: a dead one must not outlive its stream.
	options := append([]grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax))}, w.DialOptions...)
	conn, err := grpc.NewClient(w.Address, options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	call, err := pb.NewWorkerServiceClient(conn).Connect(ctx)
	if err != nil {
		return err
	}
	var writer sync.WaitGroup
	defer writer.Wait() // Facts are numbered anew for the next stream: nobody may be writing them then.
	defer cancel()
	writer.Go(func() {
		w.write(ctx, call, c)
		cancel()
	})
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the server ended the stream")
		}
		if err != nil {
			return err
		}
		w.received(ctx, c, response)
	}
}

func (w *Worker) outgoing(ctx context.Context) context.Context {
	if w.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.Token)
	}
	if w.Namespace != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "yardmaster-namespace", w.Namespace)
	}
	return ctx
}

// write sends all this worker says on one stream. It returns when the stream is over, or has to be.
func (w *Worker) write(ctx context.Context, call grpc.BidiStreamingClient[pb.ConnectRequest, pb.ConnectResponse], c *connection) {
	request, wait := w.hello(), time.Duration(0)
	for {
		if request != nil {
			if err := call.Send(request); err != nil {
				return // Recv says why.
			}
		}
		if request.GetGoodbye() != nil {
			_ = call.CloseSend()
			sleep(ctx, goodbyeMax)
			return
		}
		w.mu.Lock()
		changed := w.changed
		if time.Since(c.heardAt) >= c.silence {
			w.mu.Unlock()
			return // The connection is dead, whatever its socket says.
		}
		request, wait = w.next(c)
		w.mu.Unlock()
		if request == nil {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-time.After(wait):
			}
		}
	}
}

func (w *Worker) hello() *pb.ConnectRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	slots := w.Slots
	if !w.stopAt.IsZero() {
		slots = 0
		w.toldNoSlots = true
	}
	hello := &pb.Hello{
		Name:  w.Name,
		Tags:  w.Tags,
		Slots: &slots,
		Sdk:   &pb.Sdk{Name: "yardmaster-example-go", Language: runtime.Version()},
	}
	for action := range w.Handlers {
		hello.Actions = append(hello.Actions, action)
	}
	if w.sessionID != "" {
		// Without it this would be a new process: all that was accepted would be lost at once.
		hello.Resume = &pb.Resume{SessionId: w.sessionID}
		for id := range w.held {
			hello.Resume.HeldAssignmentIds = append(hello.Resume.HeldAssignmentIds, id)
		}
	} else {
		// Labels replace the stored set, so only a new process states them. Later the stored set is right, but for
		// upserts nobody has acknowledged; they are in the outbox, and merging one twice changes nothing.
		hello.Labels = w.labels
	}
	return &pb.ConnectRequest{Message: &pb.ConnectRequest_Hello{Hello: hello}}
}

// next is what to write now, or nil and how long to wait before asking again.
func (w *Worker) next(c *connection) (*pb.ConnectRequest, time.Duration) {
	now := time.Now()
	silentAt := c.heardAt.Add(c.silence)
	if !c.welcomed {
		return nil, silentAt.Sub(now) // Nothing may be sent before the welcome.
	}
	if !now.Before(c.heartbeatAt) {
		c.heartbeatAt = now.Add(c.heartbeat)
		heartbeat := &pb.WorkerHeartbeat{SendTime: timestamppb.New(now)}
		return &pb.ConnectRequest{Message: &pb.ConnectRequest_Heartbeat{Heartbeat: heartbeat}}, 0
	}
	if !w.stopAt.IsZero() {
		if !w.toldNoSlots {
			w.toldNoSlots = true
			message := &pb.ConnectRequest_SlotsChanged{SlotsChanged: &pb.SlotsChanged{Slots: 0}}
			w.tell(&fact{about: aboutSlots, request: &pb.ConnectRequest{Message: message}})
		}
		if !now.Before(w.stopAt) || len(w.held)+len(w.outbox) == 0 {
			c.saidGoodbye = true
			goodbye := &pb.ConnectRequest_Goodbye{Goodbye: &pb.Goodbye{Reason: "stopped"}}
			return &pb.ConnectRequest{Message: goodbye}, 0
		}
	}
	request, readyAt := w.nextFact(c, now)
	return request, min(readyAt.Sub(now), silentAt.Sub(now), c.heartbeatAt.Sub(now))
}

func (w *Worker) disconnected(c *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resetOutbox()
	if w.evicted != nil || c.saidGoodbye {
		for _, step := range w.held {
			step.cancel(errors.New("the worker has left"))
		}
	}
	w.notify()
}

func (w *Worker) waitToReconnect(failures int) {
	// Half of it by chance, so that a thousand workers do not come back at the same moment.
	longest := min(reconnectMax, reconnectFirst<<min(failures, 10))
	wait := longest/2 + rand.N(longest/2)
	w.mu.Lock()
	wait = max(wait, time.Until(w.reconnectAt))
	w.mu.Unlock()
	due := time.After(wait)
	for !w.isOver() {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-due:
			return
		case <-changed:
		}
	}
}

// isOver: stopping, and nothing is left to be told to a server that is away.
func (w *Worker) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stopAt.IsZero() && (len(w.held) == 0 || !time.Now().Before(w.stopAt))
}

// notify wakes whoever waits for a change. The mutex is held.
func (w *Worker) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
