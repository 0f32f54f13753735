import { endScripts } from '../engine/end-scripts.js';
import { commonWarnings, type Engine, outputPath, stackName } from '../engine/engine.js';
import { jobScript } from '../engine/job-script.js';
import { jobVariables, pipelineVariables } from '../engine/pipeline-input.js';
import { shortName } from '../graph/graph.js';
import { levels } from '../graph/order.js';

/**
 * This machine: the plan as one JSON document for whatever is to run it. Jobs come in an order in which they could run
 * one after another; `needs` says which could run at once.
 */
export const local: Engine = {
  name: 'local',
  defaultPath: (input, place) => `${stackName(input, place)}-plan.json`,
  files(input, place) {
    const { graph } = input.pruned;
    const level = levels(graph);
    const jobs = [...graph.jobs.values()].map((job) => {
      const { before, script, after, variables, timeout } = jobScript(input.attributes.build.get(job.hash), {
        environment: place.stack,
        job,
      });
      return {
        hash: job.hash,
        name: shortName(job.node),
        level: level.get(job.hash),
        needs: job.dependencies,
        variables: { ...variables, ...jobVariables(input, job) },
        script: [...before, ...script],
        after,
        timeout,
      };
    });
    const end = [...endScripts(input, place.stack)].map(([name, { before, script, after, variables }]) => ({
      name,
      variables,
      script: [...before, ...script],
      after,
    }));
    const plan = {
      version: 1,
      stack: place.stack,
      variables: { ...pipelineVariables(input), SPACK_CONCRETE_ENV_DIR: place.stack },
      jobs,
      end,
    };
    return [{ path: outputPath(local, input, place), text: `${JSON.stringify(plan, undefined, 2)}\n` }];
  },
  warnings: commonWarnings,
};
