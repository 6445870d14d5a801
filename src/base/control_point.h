/*
 * Named control points, for crash tests: in a build with -Dcontrol_points=true, the environment variable
 * MOSAIC_CONTROL_POINT="name=kill" makes the process kill itself (SIGKILL) at that point, "name=stop" makes it stop
 * (SIGSTOP), "name=N:kill" at the Nth time. Elsewhere they cost nothing.
 */
#ifndef MOSAIC_BASE_CONTROL_POINT_H
#define MOSAIC_BASE_CONTROL_POINT_H

#ifdef MOSAIC_CONTROL_POINTS
void control_point(const char *name);
#else
#define control_point(name) ((void)0)
#endif

#endif
