// Loaded before the command: its machine's clock is ten minutes behind.
const now = Date.now;
Date.now = () => now() - 600_000;
