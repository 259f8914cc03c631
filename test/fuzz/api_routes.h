/* api_routes.h - routes of each kind, for the tests of the request parser: with and without a name, for each set of methods and parameters. */
#ifndef ST_TEST_API_ROUTES_H
#define ST_TEST_API_ROUTES_H

#include "api_request.h"

static const struct api_route routes[] = {
    {"/health", API_GET | API_HEAD, API_TENANT, API_LANE_QUICK, true, NULL, ""},
    {"/ingest/:entity", API_GET | API_POST, API_TENANT | API_MODE | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH, false,
     NULL, ""},
    {"/ingest-all", API_GET | API_POST, API_TENANT | API_MODE | API_PARALLEL | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH,
     false, NULL, ""},
    {"/full-sync/:entity", API_POST, API_TENANT | API_WAIT | API_TIMEOUT, API_LANE_PUBLISH, false, NULL, ""},
    {"/tasks/:id", API_GET | API_HEAD, API_TENANT, API_LANE_ASK, false, NULL, ""},
};
enum { ROUTES = sizeof routes / sizeof routes[0] };

#endif
