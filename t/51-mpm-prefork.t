# Enrolment, kills and restarts under the prefork MPM.
use strict;
use warnings;
use SCEPSupervision;

life_under('prefork');
