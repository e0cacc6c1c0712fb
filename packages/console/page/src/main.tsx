import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import { isLost } from "./error-text.js";
import "./style.css";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // The console may be on this machine, which needs no network.
      networkMode: "always",
      retry: (count, error) => isLost(error) || count < 1,
      retryDelay: (count) => Math.min(250 * 2 ** count, 3_000),
      staleTime: 1_000,
    },
    mutations: { networkMode: "always" },
  },
});

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
