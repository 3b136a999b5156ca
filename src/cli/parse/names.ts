/** Values of an enum by the names people use: `pending` for RUN_STATE_PENDING. */
import type { DescEnum } from '@bufbuild/protobuf';
import type { GenEnum } from '@bufbuild/protobuf/codegenv2';

/** Every name but that of UNSPECIFIED, in the order of the contract. */
export function namesOf(schema: DescEnum): string[] {
  return schema.values.filter(({ number }) => number !== 0).map(({ localName }) => localName.toLowerCase());
}

/** The number of a name that an option has been checked to have. */
export function numberOf<Value extends number>(schema: GenEnum<Value>, name: string): Value {
  return (schema.values.find(({ localName }) => localName.toLowerCase() === name)?.number ?? 0) as Value;
}

/** For a person: PENDING. A number of a newer server is shown as it is. */
export function nameOf(schema: DescEnum, number: number): string {
  return schema.value[number]?.localName ?? String(number);
}
