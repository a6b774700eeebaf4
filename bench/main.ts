import { Command } from 'commander'
import { benchCalls } from './calls/bench.ts'
import { benchEgress } from './egress/bench.ts'

const program = new Command('bench').description('measures Toolcrib beside its peers; see bench/README.md')
program
  .command('calls')
  .description('tool calls: latency, throughput, memory')
  .option('--quick', 'one short round, to see that everything runs')
  .option('--only <name...>', 'contestants whose name has this in it')
  .option('--out <file>', 'where the JSON goes; bench/results/calls.json when left out')
  .action(async (options: { quick?: boolean; only?: string[]; out?: string }) => {
    await benchCalls({
      quick: options.quick === true,
      only: options.only ?? [],
      ...(options.out === undefined ? {} : { out: options.out }),
    })
  })
program
  .command('egress')
  .description('requests through the egress proxy: latency, throughput, memory, and what each lets through')
  .option('--quick', 'one short round, to see that everything runs')
  .option('--only <name...>', 'contestants whose name has this in it')
  .option('--out <file>', 'where the JSON goes; bench/results/egress.json when left out')
  .action(async (options: { quick?: boolean; only?: string[]; out?: string }) => {
    await benchEgress({
      quick: options.quick === true,
      only: options.only ?? [],
      ...(options.out === undefined ? {} : { out: options.out }),
    })
  })
await program.parseAsync()
