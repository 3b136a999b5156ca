/** `yardmaster namespaces`: a list; and `put`, which makes one or changes it. */
import { create } from '@bufbuild/protobuf';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import {
  ListNamespacesResponseSchema,
  MatchModeSchema,
  type Namespace,
  PutNamespaceResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { listNamespaces } from '../list.ts';
import { parseDuration } from '../parse/duration.ts';
import { nameOf, namesOf, numberOf } from '../parse/names.ts';
import { table } from '../show/table.ts';
import { printable, shortDuration } from '../show/text.ts';
import { type Cli, printJson, remote } from '../yard.ts';

interface Settings {
  readonly matchMode?: string;
  readonly retention?: Duration;
  readonly scheduleTimeout?: Duration;
}

/** Without a further word it lists. */
export function namespacesCommand(cli: Cli): Command {
  return new Command('namespaces')
    .description('list namespaces, and make or change them')
    .addCommand(listCommand(cli), { isDefault: true })
    .addCommand(putCommand(cli));
}

function listCommand(cli: Cli): Command {
  return new Command('list').description('list the namespaces').action((_options: object, self: Command) =>
    remote(cli, self, async (yard) => {
      const namespaces = await listNamespaces(yard);
      if (yard.json)
        printJson(yard, ListNamespacesResponseSchema, create(ListNamespacesResponseSchema, { namespaces }));
      else yard.io.stdout(namespacesTable(namespaces, yard.io.colours));
      return EXIT.OK;
    }),
  );
}

function putCommand(cli: Cli): Command {
  const mode = new Option('--match-mode <mode>', 'what a worker without tags may take (legacy: anything)');
  return new Command('put')
    .description('make a namespace, or change it; what is not given stays as it is')
    .argument('<name>', 'name of the namespace')
    .addOption(mode.choices(namesOf(MatchModeSchema)))
    .option('--retention <duration>', 'how long ended runs are kept (30d); 0 keeps all', parseDuration)
    .option('--schedule-timeout <duration>', 'longest wait for a worker (5m); 0 waits for ever', parseDuration)
    .action((name: string, { matchMode, retention, scheduleTimeout }: Settings, self: Command) =>
      remote(cli, self, async (yard) => {
        const namespace = {
          name,
          ...(matchMode === undefined ? {} : { matchMode: numberOf(MatchModeSchema, matchMode) }),
          ...(retention === undefined ? {} : { retention }),
          ...(scheduleTimeout === undefined ? {} : { defaultScheduleTimeout: scheduleTimeout }),
        };
        const response = await yard.admin.putNamespace({ namespace }, yard.call);
        if (yard.json) printJson(yard, PutNamespaceResponseSchema, response);
        else if (response.namespace) yard.io.stdout(namespacesTable([response.namespace], yard.io.colours));
        return EXIT.OK;
      }),
    );
}

function namespacesTable(namespaces: readonly Namespace[], colours: boolean): string {
  const rows = namespaces.map((namespace) => [
    printable(namespace.name),
    nameOf(MatchModeSchema, namespace.matchMode),
    forEverOr(namespace.retention),
    forEverOr(namespace.defaultScheduleTimeout),
  ]);
  return table(['NAMESPACE', 'MATCH MODE', 'RETENTION', 'SCHEDULE TIMEOUT'], rows, colours);
}

function forEverOr(duration: Duration | undefined): string {
  const ms = duration === undefined ? 0 : durationMs(duration);
  return ms === 0 ? 'for ever' : shortDuration(ms);
}
