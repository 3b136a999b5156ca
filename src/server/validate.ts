/** Shape and hard ceilings, as the contract's annotations state them. Configurable limits are checked in the conversion. */
import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { createValidator, type Violation } from '@bufbuild/protovalidate';
import type { Refusal } from '../domain/refusal.ts';
import { othersFirst } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { isSurelyValid } from './surely_valid.ts';

// One for the process: it compiles the rules of a message the first time it sees one.
const validator = createValidator();

export function checkShape(schema: DescMessage, message: Message): Refusal | null {
  if (isSurelyValid(schema, message)) return null;
  const result = validator.validate(schema, message);
  if (result.kind === 'valid') return null;
  if (result.kind === 'error') throw result.error;
  const fields = result.violations.map((violation) => ({ field: pathOf(violation), description: violation.message }));
  const message_ = fields
    .map(({ field, description }) => (field === '' ? description : `${field}: ${description}`))
    .join('; ');
  return { refused: 'INVALID_FIELD', message: message_, metadata: {}, fields };
}

function pathOf(violation: Violation): string {
  return violation.field
    .map((part, index) => {
      if (part.kind === 'field' || part.kind === 'oneof') return index === 0 ? part.name : `.${part.name}`;
      if (part.kind === 'list_sub') return `[${part.index}]`;
      if (part.kind === 'map_sub') return `["${String(part.key)}"]`;
      return '';
    })
    .join('');
}

/**
 * Compiles the rules beside whatever else is done, so that hardly any caller waits for it. What waits for the start of the
 * server does not: it is mostly plain enough to be judged without.
 */
export function warmUp(schemas: readonly DescMessage[], log: Log): void {
  const compileAll = async () => {
    for (const schema of schemas) {
      await othersFirst();
      validator.validate(schema, create(schema));
    }
  };
  compileAll().catch((error: unknown) => log.error({ err: error }, 'the rules of the messages do not compile'));
}
