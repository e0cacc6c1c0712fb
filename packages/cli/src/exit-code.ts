/** How the command ends; see docs/cli.md. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  changesPending: 3,
  interrupted: 130,
} as const;

/** Ends the command with a code when all has been said. */
export class Exit extends Error {
  constructor(readonly code: number) {
    super(`exit code ${code}`);
  }
}

/** The command line asks for something impossible; the text says what to write instead. */
export class UsageError extends Error {}
