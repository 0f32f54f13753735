import type { Command } from 'commander';
import type { Context } from './context.js';

/**
 * A command's file exports this as `define`: it declares arguments and options on `command` and its action.
 * The action's promise ends the command; what it throws becomes the exit code.
 */
export type Define = (command: Command, context: Context) => void;

/** Where a command lives. The module is read only when the command is asked for, so that start-up stays short. */
export interface CommandEntry {
  readonly name: string;
  /** One line for `stackwright --help`. */
  readonly summary: string;
  readonly load: () => Promise<{ readonly define: Define }>;
}
