import { commonWarnings, type Engine, outputPath, stackName } from '../engine/engine.js';
import { slurmScript } from './script.js';

/** Slurm: a script that submits one job a package. */
export const slurm: Engine = {
  name: 'slurm',
  defaultPath: (input, place) => `${stackName(input, place)}.slurm.sh`,
  files(input, place) {
    const { stack } = place;
    const text = slurmScript(input, {
      name: stackName(input, place),
      stack,
      folder: input.settings.projectFolder,
    });
    return [{ path: outputPath(slurm, input, place), text }];
  },
  warnings: commonWarnings,
};
