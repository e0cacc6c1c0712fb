#!/usr/bin/env node
import { main } from "../dist/main.js";

const code = await main(process.argv.slice(2));
// Timers of the connection would keep the process for a second.
// What could not be written is told, by main(), one turn later.
process.stdout.write("", () => setImmediate(() => process.exit(code)));
