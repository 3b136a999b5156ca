/** The agent in a process of its own. */
import { agentCommand } from '../../src/cli/agent/command.ts';

await agentCommand().parseAsync();
