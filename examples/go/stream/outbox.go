package stream

import (
	"slices"
	"time"

	pb "example.com/yardmaster/gen/yardmaster/v1"
)

// What a fact is about when it is not about an assignment.
const (
	aboutLabels = "labels"
	aboutSlots  = "slots"
)

// fact is something the server has to be told. Facts about one thing keep their order. The mutex guards it.
type fact struct {
	about     string             // The assignment's id, else one of the above.
	request   *pb.ConnectRequest // Its sequence is that on the stream that is open now; 0: not sent on it.
	notBefore time.Time
}

// endsAssignment tells whether nothing more is said about the assignment once this is settled.
func (f *fact) endsAssignment() bool {
	switch f.request.Message.(type) {
	case *pb.ConnectRequest_StepSucceeded, *pb.ConnectRequest_StepFailed,
		*pb.ConnectRequest_StepCancelled, *pb.ConnectRequest_StepReturned:
		return true
	}
	return false
}

func (w *Worker) tell(f *fact) {
	w.outbox = append(w.outbox, f)
	w.notify()
}

// nextFact takes the oldest fact that may go now; with none it tells when to ask again.
func (w *Worker) nextFact(c *connection, now time.Time) (*pb.ConnectRequest, time.Time) {
	askAt := now.Add(time.Hour)
	waiting := map[string]bool{}
	for _, f := range w.outbox {
		if f.request.Sequence != 0 {
			if f.about == aboutLabels {
				waiting[aboutLabels] = true // One at a time: should it have to be sent again, a newer one must come after.
			}
			continue
		}
		if waiting[f.about] {
			continue
		}
		readyAt := f.notBefore
		if f.request.GetStepLogged() != nil && readyAt.Before(c.nextLineAt) {
			readyAt = c.nextLineAt
		}
		if !readyAt.After(now) {
			return w.number(c, f, now), now
		}
		waiting[f.about] = true
		if readyAt.Before(askAt) {
			askAt = readyAt
		}
	}
	return nil, askAt
}

func (w *Worker) number(c *connection, f *fact, now time.Time) *pb.ConnectRequest {
	if f.request.GetStepProgressed() != nil {
		w.remove(func(each *fact) bool { return each == f }) // Number 0: never acknowledged, never sent again.
		return f.request
	}
	if f.request.GetStepLogged() != nil {
		// Evenly spread, the lines never break the limit; a refused line would arrive too late, or never.
		c.nextLineAt = now.Add(time.Second / time.Duration(orDefault(w.limits.GetLogLinesPerSecond(), 1000)))
	}
	c.sequence++
	f.request.Sequence = c.sequence
	return f.request
}

// settle: every number up to this one is committed or refused; what was refused has left the outbox before.
func (w *Worker) settle(acknowledged uint64) {
	w.remove(func(f *fact) bool {
		settled := f.request.Sequence != 0 && f.request.Sequence <= acknowledged
		if settled && f.endsAssignment() {
			delete(w.held, f.about)
		}
		return settled
	})
}

// resetOutbox: the stream is gone, and its numbers with it. All facts go out again on the next one, oldest first; only
// the slots do not: the next hello says them.
func (w *Worker) resetOutbox() {
	w.remove(func(f *fact) bool { return f.about == aboutSlots })
	for _, f := range w.outbox {
		f.request.Sequence = 0
	}
}

func (w *Worker) remove(gone func(*fact) bool) {
	w.outbox = slices.DeleteFunc(w.outbox, gone)
}

// orDefault: a limit of 0 is one that the server did not name.
func orDefault(told, otherwise uint32) uint32 {
	if told == 0 {
		return otherwise
	}
	return told
}
