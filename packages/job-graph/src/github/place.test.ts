import { describe, expect, it } from 'vitest';
import { node } from '../graph/graphs.test.support.js';
import { machineOf } from './place.js';

const on = (os: string, target = 'x86_64_v3', platform = 'linux') =>
  node('a', { arch: { platform, os, target } });
const nothing = { image: undefined, tags: [] };

describe('the machine of a job', () => {
  it.each<[string, string, object]>([
    ['ubuntu24.04', 'zen3', { 'runs-on': 'ubuntu-24.04' }],
    ['ubuntu22.04', 'neoverse_v1', { 'runs-on': 'ubuntu-22.04-arm' }],
    ['ubuntu20.04', 'x86_64', { 'runs-on': 'ubuntu-24.04', container: { image: 'ubuntu:20.04' } }],
    ['debian12', 'x86_64', { 'runs-on': 'ubuntu-24.04', container: { image: 'debian:12' } }],
    ['debian13', 'aarch64', { 'runs-on': 'ubuntu-24.04-arm', container: { image: 'debian:13' } }],
    [
      'rhel9',
      'x86_64',
      { 'runs-on': 'ubuntu-24.04', container: { image: 'registry.access.redhat.com/ubi9/ubi' } },
    ],
    ['almalinux9', 'x86_64', { 'runs-on': 'ubuntu-24.04', container: { image: 'almalinux:9' } }],
    ['rocky8', 'x86_64', { 'runs-on': 'ubuntu-24.04', container: { image: 'rockylinux/rockylinux:8' } }],
  ])('of a lock for %s and %s is what runs it', (os, target, machine) => {
    expect(machineOf(nothing, on(os, target))).toEqual({ machine });
  });

  it('of a lock for macOS is a runner with it', () => {
    expect(machineOf(nothing, on('sequoia', 'm1', 'darwin')).machine).toEqual({ 'runs-on': 'macos-15' });
  });

  it("is the stack's own where its ci section says", () => {
    const debian = on('debian12');
    expect(machineOf({ image: 'mine:1', tags: ['x86_64'] }, debian).machine).toEqual({
      'runs-on': 'ubuntu-24.04',
      container: { image: 'mine:1' },
    });
    expect(machineOf({ image: undefined, tags: ['x', 'ubuntu-latest'] }, debian).machine).toEqual({
      'runs-on': 'ubuntu-latest',
    });
    expect(machineOf({ image: undefined, tags: ['self-hosted', 'big'] }, debian).machine).toEqual({
      'runs-on': ['self-hosted', 'big'],
    });
  });

  it('is told to be a guess for a system that nobody knows', () => {
    expect(machineOf(nothing, on('plan9'))).toEqual({
      machine: { 'runs-on': 'ubuntu-24.04' },
      unknown: 'plan9',
    });
  });
});
