/* version.h - who answers: the names that the program gives itself towards others. */
#ifndef ST_BASE_VERSION_H
#define ST_BASE_VERSION_H

#define ST_SERVICE_NAME "st-v2-ingestor"
#define ST_VERSION "2.0.0"

#endif
