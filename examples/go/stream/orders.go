package stream

import (
	"context"
	"errors"
	"time"

	pb "example.com/yardmaster/gen/yardmaster/v1"
)

// received does what the server says. ctx is the stream's; handlers do not depend on it.
func (w *Worker) received(ctx context.Context, c *connection, response *pb.ConnectResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.heardAt = time.Now()
	switch message := response.Message.(type) {
	case *pb.ConnectResponse_Welcome:
		w.welcomed(c, message.Welcome)
	case *pb.ConnectResponse_RunStep:
		w.runStep(ctx, message.RunStep)
	case *pb.ConnectResponse_CancelStep:
		if step := w.held[message.CancelStep.AssignmentId]; step != nil {
			// Its end is told when the handler has ended: the slot is in use until then.
			step.cancel(errors.New(message.CancelStep.Reason))
		}
	case *pb.ConnectResponse_Refused:
		w.refused(message.Refused)
	case *pb.ConnectResponse_Drain:
		w.Say("draining: %s", message.Drain.Reason) // The server gives nothing new by itself.
	case *pb.ConnectResponse_Reconnect:
		// The server is about to end this stream; it serves until then.
		w.reconnectAt = time.Now().Add(message.Reconnect.Delay.AsDuration())
	case *pb.ConnectResponse_Evicted:
		switch message.Evicted.Reason {
		case pb.EvictionReason_EVICTION_REASON_SUPERSEDED, pb.EvictionReason_EVICTION_REASON_DELETED,
			pb.EvictionReason_EVICTION_REASON_TOKEN_REVOKED:
			// The identity is somebody else's, or gone: coming back would only take it away again.
			w.evicted = &EvictedError{message.Evicted.Reason, message.Evicted.Message}
		}
	}
	// A heartbeat has done its work by arriving; orders of a newer server are ignored.
	// After the message: a refusal may come with the acknowledgement that covers it.
	w.settle(response.Acknowledged)
	w.notify()
}

func (w *Worker) welcomed(c *connection, welcome *pb.Welcome) {
	c.welcomed = true
	c.silence = welcome.SilenceTimeout.AsDuration()
	c.heartbeat = welcome.HeartbeatInterval.AsDuration()
	c.heartbeatAt = time.Now().Add(c.heartbeat)
	w.limits = welcome.Limits
	if w.sessionID == "" {
		w.Say("connected as %s", welcome.Name)
	} else {
		w.Say("resumed as %s", welcome.Name)
	}
	w.sessionID = welcome.SessionId
	for _, id := range welcome.DroppedAssignmentIds {
		w.drop(id)
	}
}

func (w *Worker) runStep(ctx context.Context, order *pb.RunStep) {
	if w.held[order.AssignmentId] != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	step := &Step{RunStep: order, worker: w, ctx: ctx, cancel: cancel}
	w.held[order.AssignmentId] = step
	if objection := w.objection(order); objection != nil {
		step.ended = true
		cancel(nil)
		step.tell(&pb.ConnectRequest{Message: &pb.ConnectRequest_StepReturned{StepReturned: objection}})
		return
	}
	// Accepted first, and at once: the server waits only for Welcome.accept_timeout.
	accepted := &pb.StepAccepted{AssignmentId: order.AssignmentId}
	step.tell(&pb.ConnectRequest{Message: &pb.ConnectRequest_StepAccepted{StepAccepted: accepted}})
	w.running++
	go step.handle()
}

func (w *Worker) objection(order *pb.RunStep) *pb.StepReturned {
	returned := &pb.StepReturned{AssignmentId: order.AssignmentId}
	switch {
	case !w.stopAt.IsZero():
		returned.Reason = pb.ReturnReason_RETURN_REASON_SHUTTING_DOWN
	case w.Handlers[order.Action] == nil:
		returned.Reason = pb.ReturnReason_RETURN_REASON_OTHER
		returned.Detail = "no handler for " + order.Action
	case w.running >= w.Slots:
		returned.Reason = pb.ReturnReason_RETURN_REASON_NOT_READY
		returned.Detail = "all slots are in use"
	default:
		return nil
	}
	return returned
}

func (w *Worker) refused(refused *pb.Refused) {
	var f *fact
	for _, each := range w.outbox {
		if each.request.Sequence != 0 && each.request.Sequence == refused.Sequence {
			f = each
		}
	}
	if f == nil {
		return // About progress, which carries no number.
	}
	if refused.RetryAfter != nil {
		f.request.Sequence = 0
		f.notBefore = time.Now().Add(refused.RetryAfter.AsDuration())
		return
	}
	w.remove(func(each *fact) bool { return each == f })
	w.Say("refused: %T: %s: %s", f.request.Message, refused.Reason, refused.Message)
	step := w.held[f.about]
	stale := refused.Reason == "STALE_ASSIGNMENT"
	switch {
	case step == nil:
	case f.endsAssignment() && (stale || f.request.GetStepFailed() != nil):
		delete(w.held, f.about)
	case stale:
		w.drop(f.about)
	case f.endsAssignment():
		// The step is still RUNNING there, and must end some other way.
		step.tell(step.failed(&pb.StepError{Reason: "RESULT_REFUSED", Message: refused.Message}))
	}
}

// drop: the assignment is somebody else's by now. The slot stays reserved here until this worker says that it is done
// with it.
func (w *Worker) drop(id string) {
	step := w.held[id]
	if step == nil {
		return
	}
	step.void = true
	step.cancel(errors.New("the assignment is not this worker's any more"))
	w.remove(func(f *fact) bool { return f.about == id })
	if step.ended {
		step.tell(step.cancelled())
	}
}
