/** Where the bare hop sends what it gets. */
export const hopSubject = "bench.hop";
