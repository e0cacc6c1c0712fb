import { serve } from "@jetrpc/runtime/node";
import { GreetService } from "../gen/greet/v1/index.js";
import { greeter } from "./greeter.js";

await serve(GreetService, greeter);
console.log("ready");
