package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "example.com/yardmaster/gen/yardmaster/v1"
)

// What is told of an error, so that no stack outgrows a message.
const errorBytesMax = 8000

// Step is one assignment, as its handler sees it: all of RunStep, and what can be said about it meanwhile. Its methods
// may be called from any goroutine.
type Step struct {
	*pb.RunStep
	worker *Worker
	ctx    context.Context
	cancel context.CancelCauseFunc
	// The mutex of the worker guards these.
	ended bool // The handler has returned.
	void  bool // The server listens to nothing more about it but that it is over.
	lines uint64
}

// Permanent makes an error that trying again would be no use, whatever the step's retry says.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Input decodes the step's input.
func (s *Step) Input(into any) error { return json.Unmarshal([]byte(s.InputJson), into) }

// UpsertLabels merges into the labels of the worker; see Worker.
func (s *Step) UpsertLabels(labels map[string]any) error { return s.worker.UpsertLabels(labels) }

// Log adds a line to the step's log. It waits while too much is unsettled.
func (s *Step) Log(format string, args ...any) {
	line := &pb.LogLine{Time: timestamppb.Now(), Level: pb.LogLevel_LOG_LEVEL_INFO, Text: fmt.Sprintf(format, args...)}
	w := s.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.outbox) >= unsettledFactsMax && s.ctx.Err() == nil {
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-s.ctx.Done():
		}
		w.mu.Lock()
	}
	if s.ended || s.void {
		return
	}
	// Numbered without gaps; the server knows a line again that it had before the stream broke.
	s.lines++
	logged := &pb.StepLogged{AssignmentId: s.AssignmentId, FirstLineNumber: s.lines, Lines: []*pb.LogLine{line}}
	s.tell(&pb.ConnectRequest{Message: &pb.ConnectRequest_StepLogged{StepLogged: logged}})
}

// Progress says how far the work is, 0 to 1. The last one wins.
func (s *Step) Progress(fraction float64, text string) {
	w := s.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.ended || s.void {
		return
	}
	if characters := []rune(text); len(characters) > int(orDefault(w.limits.GetProgressTextCharacters(), 255)) {
		text = string(characters[:orDefault(w.limits.GetProgressTextCharacters(), 255)])
	}
	// What has not left yet need not leave any more.
	w.remove(func(f *fact) bool { return f.about == s.AssignmentId && f.request.GetStepProgressed() != nil })
	progressed := &pb.StepProgressed{AssignmentId: s.AssignmentId, Fraction: &fraction, Text: text}
	s.tell(&pb.ConnectRequest{Message: &pb.ConnectRequest_StepProgressed{StepProgressed: progressed}})
}

func (s *Step) handle() {
	end := s.outcome()
	s.worker.mu.Lock()
	defer s.worker.mu.Unlock()
	s.worker.running--
	s.ended = true
	if s.ctx.Err() != nil {
		end = s.cancelled()
	}
	s.tell(end)
	s.cancel(nil)
}

func (s *Step) outcome() (end *pb.ConnectRequest) {
	defer func() {
		if panicked := recover(); panicked != nil {
			end = s.failed(&pb.StepError{
				Reason:  "APPLICATION",
				Type:    "panic",
				Message: cut(fmt.Sprint(panicked)),
				Stack:   cut(string(debug.Stack())),
			})
		}
	}()
	output, err := s.worker.Handlers[s.Action](s.ctx, s)
	var text []byte
	if err == nil {
		text, err = json.Marshal(output)
	}
	if most := s.payloadBytesMax(); err == nil && len(text) > most {
		// Beyond the transport's own limit it would end every stream it is sent on.
		err = Permanent(fmt.Errorf("the output has %d bytes; the limit is %d", len(text), most))
	}
	if err != nil {
		retryable := !errors.As(err, new(*permanentError))
		return s.failed(&pb.StepError{
			Reason:    "APPLICATION",
			Type:      errorType(err),
			Message:   cut(err.Error()),
			Retryable: &retryable,
		})
	}
	succeeded := &pb.StepSucceeded{AssignmentId: s.AssignmentId, OutputJson: string(text)}
	return &pb.ConnectRequest{Message: &pb.ConnectRequest_StepSucceeded{StepSucceeded: succeeded}}
}

func (s *Step) payloadBytesMax() int {
	s.worker.mu.Lock()
	defer s.worker.mu.Unlock()
	return int(orDefault(s.worker.limits.GetPayloadBytes(), 1<<20))
}

func (s *Step) failed(err *pb.StepError) *pb.ConnectRequest {
	failed := &pb.StepFailed{AssignmentId: s.AssignmentId, Error: err}
	return &pb.ConnectRequest{Message: &pb.ConnectRequest_StepFailed{StepFailed: failed}}
}

func (s *Step) cancelled() *pb.ConnectRequest {
	cancelled := &pb.StepCancelled{AssignmentId: s.AssignmentId}
	return &pb.ConnectRequest{Message: &pb.ConnectRequest_StepCancelled{StepCancelled: cancelled}}
}

// tell: the mutex is held.
func (s *Step) tell(request *pb.ConnectRequest) {
	s.worker.tell(&fact{about: s.AssignmentId, request: request})
}

func errorType(err error) string {
	var permanent *permanentError
	if errors.As(err, &permanent) {
		err = permanent.error
	}
	return fmt.Sprintf("%T", err)
}

// cut keeps valid UTF-8: protobuf sends nothing else.
func cut(text string) string {
	if len(text) > errorBytesMax {
		text = text[:errorBytesMax]
	}
	return strings.ToValidUTF8(text, "�")
}
