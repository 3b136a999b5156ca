import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accepted, assignmentOf, cancelled, type Fact, slotsChanged } from '../../src/worker/facts.ts';
import { Outbox } from '../../src/worker/outbox.ts';

const open = () => 0;

/** Drives an outbox and keeps, beside it, what must be true of it. */
class Model {
  readonly box = new Outbox();
  /** Added and not settled, oldest first. */
  readonly unsettled: Fact[] = [];
  sequence = 0;
  nowMs = 0;
  /** What went out on this stream: number → fact. */
  sent = new Map<number, Fact>();
  connected = true;

  add(fact: Fact): void {
    this.box.add(fact);
    this.unsettled.push(fact);
    this.pump();
  }

  pump(): void {
    if (!this.connected) return;
    const transmit = (fact: Fact) => {
      this.sequence += 1;
      this.sent.set(this.sequence, fact);
      this.#expectNotOvertaking(fact);
      return this.sequence;
    };
    this.box.pump(this.nowMs, transmit, open);
  }

  /** Everything older about the same assignment, and not settled, must have gone out before on this stream. */
  #expectNotOvertaking(fact: Fact): void {
    const older = this.unsettled.slice(0, this.unsettled.indexOf(fact));
    const gone = new Set(this.sent.values());
    for (const other of older) {
      if (assignmentOf(other) === assignmentOf(fact)) expect(gone.has(other)).toBe(true);
    }
  }

  acknowledge(upTo: number): void {
    const expected = this.unsettled.filter((fact) => (this.numberOf(fact) ?? Infinity) <= upTo);
    expect(this.box.acknowledge(upTo)).toEqual(expected);
    for (const fact of expected) this.forget(fact);
  }

  refuse(sequence: number, again: boolean): void {
    const fact = this.sent.get(sequence);
    const isOpen = fact !== undefined && this.unsettled.includes(fact) && this.numberOf(fact) === sequence;
    if (again) {
      expect(this.box.postpone(sequence, this.nowMs + 5)).toBe(isOpen ? fact : undefined);
      if (isOpen) this.sent.delete(sequence);
    } else {
      expect(this.box.refuse(sequence)).toBe(isOpen ? fact : undefined);
      if (isOpen) this.forget(fact);
    }
  }

  cut(): void {
    this.box.disconnected();
    this.connected = false;
  }

  connect(): void {
    this.connected = true;
    this.sequence = 0;
    this.sent = new Map();
    const before = [...this.unsettled];
    this.nowMs += 5;
    this.pump();
    // Everything goes out again, oldest first, under 1, 2, 3 …
    expect([...this.sent.keys()]).toEqual(before.map((_, index) => index + 1));
    expect([...this.sent.values()]).toEqual(before);
  }

  numberOf(fact: Fact): number | undefined {
    for (const [sequence, sent] of this.sent) if (sent === fact) return sequence;
    return undefined;
  }

  forget(fact: Fact): void {
    this.unsettled.splice(this.unsettled.indexOf(fact), 1);
  }

  check(): void {
    expect(this.box.facts()).toEqual(this.unsettled);
    // Numbers of one stream have no gaps: each was used once.
    if (this.connected) expect(this.sequence).toBeGreaterThanOrEqual(this.sent.size);
  }
}

type Step = (model: Model) => void;
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.nat(3).map(
      (id): Step =>
        (model) =>
          model.add(accepted(`a${id}`)),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(12).map(
      (upTo): Step =>
        (model) =>
          model.connected && model.acknowledge(upTo),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 8 }), fc.boolean()).map(
      ([sequence, again]): Step =>
        (model) =>
          model.connected && model.refuse(sequence, again),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(6).map(
      (ms): Step =>
        (model) => {
          model.nowMs += ms;
          model.pump();
        },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant<Step>((model) => (model.connected ? model.cut() : model.connect())),
  },
);

describe('outbox', () => {
  test('loses nothing, lets nothing overtake, and sends all that is left again in order', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), (run) => {
        const model = new Model();
        for (const step of run) {
          step(model);
          model.check();
        }
        if (!model.connected) model.connect();
        model.nowMs += 5;
        model.pump();
        model.acknowledge(model.sequence);
        expect(model.box.size).toBe(0);
      }),
      { numRuns: 1_000 },
    );
  });

  test('holds back what a gate holds back, and the rest of that assignment with it', () => {
    const box = new Outbox();
    const sent: Fact[] = [];
    const send = (fact: Fact) => sent.push(fact);
    const [slow, after, other] = [accepted('slow'), cancelled('slow'), accepted('other')];
    for (const fact of [slow, after, other]) box.add(fact);
    expect(box.pump(10, send, (fact) => (fact === slow ? 30 : 0))).toBe(30);
    expect(sent).toEqual([other]);
    expect(box.acknowledge(1)).toEqual([other]);
    expect(box.pump(30, send, open)).toBe(Number.POSITIVE_INFINITY);
    expect(sent).toEqual([other, slow, after]);
  });

  test('keeps only the newest number of slots, and leaves it to the next hello', () => {
    const box = new Outbox();
    const [two, three, four] = [slotsChanged(2), slotsChanged(3), slotsChanged(4)];
    box.add(two);
    box.add(three);
    expect(box.facts()).toEqual([three]);
    box.pump(0, () => 1, open);
    box.add(four);
    expect(box.postpone(1, 10)).toBe(three);
    expect(box.facts()).toEqual([four]);
    box.disconnected();
    expect(box.size).toBe(0);
  });

  test('drops one assignment', () => {
    const box = new Outbox();
    const [one, two] = [accepted('one'), accepted('two')];
    box.add(one);
    box.add(two);
    expect(box.drop('one')).toEqual([one]);
    expect(box.facts()).toEqual([two]);
  });
});
