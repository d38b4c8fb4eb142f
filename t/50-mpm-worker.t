# Enrolment, kills and restarts under the worker MPM.
use strict;
use warnings;
use SCEPSupervision;

life_under('worker');
